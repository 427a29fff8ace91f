//! What one check found, in one line, with the remedy where there is one.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// As it should be, or not to be judged.
    Ok,
    /// Works, and somebody should look at it.
    Warn,
    /// Does not work.
    Fail,
}

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// As `database`.
    pub(crate) check: &'static str,
    pub(crate) grade: Grade,
    /// What was found.
    pub(crate) what: String,
    /// What to do about it; empty where nothing is to be done.
    pub(crate) remedy: String,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, grade: Grade::Ok, what: what.into(), remedy: String::new() }
    }

    /// Works, and somebody should look at it.
    pub(super) fn warn(
        check: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, grade: Grade::Warn, what: what.into(), remedy: remedy.into() }
    }

    /// Does not work.
    pub(super) fn fail(
        check: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, grade: Grade::Fail, what: what.into(), remedy: remedy.into() }
    }
}

/// One line for each.
pub(crate) fn as_text(findings: &[Finding]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for Finding { check, grade, what, remedy } in findings {
        let grade = grade.word();
        // One line each, whatever a server has answered.
        let what = what.replace(|c: char| c.is_control(), " ");
        write!(text, "{grade:<4}  {check:<14}  {what}")?;
        if !remedy.is_empty() {
            write!(text, "; {remedy}")?;
        }
        text.push('\n');
    }
    Ok(text)
}

/// The same for programs.
pub(crate) fn as_json(findings: &[Finding]) -> Value {
    let list: Vec<Value> = findings
        .iter()
        .map(|Finding { check, grade, what, remedy }| {
            json!({"check": check, "grade": grade.word(), "what": what, "remedy": remedy})
        })
        .collect();
    json!({"ok": !any_failed(findings), "findings": list})
}

/// Whether something does not work.
pub(crate) fn any_failed(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.grade == Grade::Fail)
}
