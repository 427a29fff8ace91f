//! What made-up creators link to, where their visitors come from, and on what they browse.

/// A page that sent a visitor.
#[derive(Debug)]
pub(crate) struct Referrer {
    /// Its host; `None` when nobody sent the visitor.
    pub(crate) host: Option<&'static str>,
    /// Its address as a browser would give it.
    pub(crate) url: &'static str,
}

/// A browser on a device.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) device: &'static str,
    pub(crate) name: &'static str,
    pub(crate) os: &'static str,
    pub(crate) user_agent: &'static str,
}

/// A link as a creator would set it up.
pub(crate) struct Offer {
    pub(crate) title: &'static str,
    pub(crate) slug: &'static str,
    pub(crate) kind: &'static str,
}

const fn referrer(host: &'static str, url: &'static str) -> Referrer {
    Referrer { host: Some(host), url }
}

const fn offer(title: &'static str, slug: &'static str, kind: &'static str) -> Offer {
    Offer { title, slug, kind }
}

/// Social networks first: that is what a link in a bio is for.
pub(crate) const REFERRERS: [(Referrer, u32); 8] = [
    (referrer("instagram.com", "https://www.instagram.com/"), 38),
    (referrer("tiktok.com", "https://www.tiktok.com/"), 22),
    (Referrer { host: None, url: "direct" }, 16),
    (referrer("youtube.com", "https://www.youtube.com/"), 9),
    (referrer("t.co", "https://t.co/"), 5),
    (referrer("google.com", "https://www.google.com/"), 5),
    (referrer("facebook.com", "https://www.facebook.com/"), 3),
    (referrer("linkedin.com", "https://www.linkedin.com/"), 2),
];

/// The empty one is a visitor whose country nobody could tell.
pub(crate) const COUNTRIES: [(&str, u32); 16] = [
    ("US", 34),
    ("GB", 10),
    ("IN", 9),
    ("DE", 8),
    ("BR", 8),
    ("CA", 5),
    ("FR", 5),
    ("AU", 4),
    ("MX", 4),
    ("ES", 3),
    ("IT", 3),
    ("JP", 3),
    ("NL", 2),
    ("NG", 1),
    ("ZA", 1),
    ("", 2),
];

/// Phones first: people tap a link in a bio.
pub(crate) const BROWSERS: [(Browser, u32); 6] = [
    (
        Browser {
            device: "mobile",
            name: "Mobile Safari",
            os: "iOS",
            user_agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
        },
        40,
    ),
    (
        Browser {
            device: "mobile",
            name: "Chrome",
            os: "Android",
            user_agent: "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
        },
        35,
    ),
    (
        Browser {
            device: "desktop",
            name: "Chrome",
            os: "Windows",
            user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        },
        12,
    ),
    (
        Browser {
            device: "desktop",
            name: "Safari",
            os: "Mac OS",
            user_agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
        },
        7,
    ),
    (
        Browser {
            device: "tablet",
            name: "Mobile Safari",
            os: "iPadOS",
            user_agent: "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
        },
        4,
    ),
    (
        Browser {
            device: "tablet",
            name: "Chrome",
            os: "Android",
            user_agent: "Mozilla/5.0 (Linux; Android 14; SM-X200) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        },
        2,
    ),
];

/// In the order of a page: what a creator is proud of comes first.
pub(crate) const OFFERS: [Offer; 12] = [
    offer("My new single is out", "listen/new-single", "music"),
    offer("Shop my favourites", "shop", "commerce"),
    offer("Latest video: a week in Lisbon", "watch/lisbon", "video"),
    offer("Book a session", "book", "scheduling"),
    offer("Newsletter: letters on making things", "newsletter", "classic"),
    offer("Recipes", "recipes", "classic"),
    offer("Podcast", "podcast", "music"),
    offer("Preset pack", "presets", "commerce"),
    offer("Studio tour", "watch/studio", "video"),
    offer("Support my work", "support", "classic"),
    offer("Tour dates", "tour", "classic"),
    offer("Press kit", "press", "classic"),
];

/// What made-up creators are called, and what they say of themselves.
pub(crate) const CREATORS: [(&str, &str, &str); 6] = [
    ("mira.makes", "Mira Makes", "Ceramics, slow mornings and the occasional song"),
    ("theo.runs", "Theo Runs", "Trails, training plans and too much coffee"),
    ("lumen.kitchen", "Lumen Kitchen", "Plants on plates"),
    ("odd.pixels", "Odd Pixels", "Small games by two people"),
    ("noor.draws", "Noor Draws", "Ink every day since 2019"),
    ("field.notes.fm", "Field Notes FM", "A podcast about listening"),
];

/// The looks a page can have.
pub(crate) const THEMES: [&str; 4] = ["mineral", "sunrise", "midnight", "paper"];
