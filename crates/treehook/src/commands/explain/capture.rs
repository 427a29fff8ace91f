//! A captured request: its headers and its body, as they arrived.

use treehook_event::Found;

/// What arrived. Names of headers are lower case.
#[derive(Debug, Clone, Default)]
pub(super) struct Capture {
    headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Capture {
    /// These headers and this body.
    pub(super) fn new(headers: Vec<(String, Vec<u8>)>, body: Vec<u8>) -> Self {
        Self { headers, body }
    }

    /// As the receiver looks for a header.
    pub(super) fn find(&self, name: &str) -> Found<'_> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (None, _) => Found::Absent,
            (Some(value), None) => Found::Once(value),
            (Some(_), Some(_)) => Found::Repeated,
        }
    }

    /// Every value of a header.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| &value[..])
    }

    /// Every header whose name fits.
    pub(super) fn named(&self, fits: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .filter(move |(name, _)| fits(name))
            .map(|(name, value)| (name.as_str(), value.trim_ascii()))
    }
}

/// Reads `Name: value` lines up to the first empty one after them. A request line, and the marks
/// that tools put before a line, are passed over.
pub(super) fn headers_of(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut headers = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = line.strip_prefix(b"> ").or(line.strip_prefix(b"< ")).unwrap_or(line);
        if line.trim_ascii().is_empty() || line == b">" || line == b"<" {
            if headers.is_empty() {
                continue;
            }
            break;
        }
        if headers.is_empty() && is_first_line(line) {
            continue;
        }
        // Without the line itself: it may hold a token.
        headers.push(
            header_of(line).ok_or_else(|| {
                format!("line {} is no header: expected `Name: value`", index + 1)
            })?,
        );
    }
    Ok(headers)
}

/// One `Name: value`.
pub(super) fn header_of(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic());
    is_name.then(|| (name.to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec()))
}

/// `POST /webhooks/linktree HTTP/1.1`, or `HTTP/1.1 202 Accepted`.
fn is_first_line(line: &[u8]) -> bool {
    line.starts_with(b"HTTP/") || line.windows(6).any(|window| window == b" HTTP/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_are_read_as_tools_write_them() {
        let want = vec![("host".to_owned(), b"h:1".to_vec()), ("x-a".to_owned(), b"b: c".to_vec())];
        for text in [
            "Host: h:1\nX-A: b: c",
            "POST /webhooks/linktree HTTP/1.1\r\nHost: h:1\r\nX-A:b: c \r\n\r\n{\"body\":1}",
            "> POST / HTTP/2\n> Host: h:1\n> x-a: b: c\n>\n",
        ] {
            assert_eq!(headers_of(text.as_bytes()).as_ref(), Ok(&want), "{text}");
        }
        let refused = headers_of(b"Host: h\nBearer token-marker").unwrap_err();
        assert!(refused.contains("line 2") && !refused.contains("marker"), "{refused}");
    }

    #[test]
    fn a_header_is_found_whatever_its_case_and_its_repetition_shows() {
        let headers = headers_of(b"X-A: 1\nx-a: 2\nX-B: 3").unwrap();
        let capture = Capture::new(headers, Vec::new());
        assert_eq!(capture.find("x-a"), Found::Repeated);
        assert_eq!(capture.find("x-b"), Found::Once(b"3"));
        assert_eq!(capture.find("x-c"), Found::Absent);
    }
}
