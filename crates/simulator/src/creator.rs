//! Made-up creators with their pages: what links there are and how popular each is.

use rand::RngExt;
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use treehook_event::{Platform, Timestamp};

use crate::catalog::{CREATORS, OFFERS, THEMES};

/// How fast popularity falls from the first link to the last (Zipf's exponent): half of the
/// clicks go to the first two or three of eight.
const LINK_FALL: f64 = 1.05;
/// As above, from profile to profile.
const PROFILE_FALL: f64 = 0.8;

/// A link on a page.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) url: String,
    pub(crate) slug: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) position: usize,
    pub(crate) deleted: bool,
    pub(crate) clicks: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) changed_at: Timestamp,
}

/// A profile with its page and its crowd.
#[derive(Debug)]
pub(crate) struct Creator {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) display_name: String,
    pub(crate) bio: &'static str,
    pub(crate) theme: &'static str,
    pub(crate) links: Vec<Link>,
    pub(crate) views: u64,
    pub(crate) clicks: u64,
    /// How many people have been here so far.
    pub(crate) crowd: u64,
    /// Who looked last: whoever clicks has looked before.
    pub(crate) last_viewer: Option<u64>,
    popularity: WeightedIndex<f64>,
}

impl Creator {
    /// The creator of this index, with a page of `links` links.
    pub(crate) fn new(seed: u64, index: usize, links: usize, platform: Platform) -> Self {
        let (name, display_name, bio) = CREATORS[index % CREATORS.len()];
        let prefix = match platform {
            Platform::Linktree | Platform::Standard => "prof",
            Platform::Dub => "ws",
        };
        let place = |position| Link::new(seed, index, name, position);
        Self {
            id: format!("{prefix}_{seed:x}_{index}"),
            username: numbered(name, index / CREATORS.len(), '.'),
            display_name: numbered(display_name, index / CREATORS.len(), ' '),
            bio,
            theme: THEMES[index % THEMES.len()],
            links: (0..links).map(place).collect(),
            views: 0,
            clicks: 0,
            crowd: 0,
            last_viewer: None,
            popularity: falling(links, LINK_FALL),
        }
    }

    /// A link by its popularity. What went to a deleted link goes to the first one.
    pub(crate) fn pick_link(&self, rng: &mut impl RngExt) -> usize {
        let link = self.popularity.sample(rng);
        if self.links[link].deleted { 0 } else { link }
    }
}

impl Link {
    fn new(seed: u64, creator: usize, name: &str, position: usize) -> Self {
        let offer = &OFFERS[position % OFFERS.len()];
        let round = position / OFFERS.len();
        Self {
            id: format!("link_{seed:x}_{creator}_{position}"),
            title: numbered(offer.title, round, ' '),
            url: numbered(&format!("https://{name}.example/{}", offer.slug), round, '-'),
            slug: offer.slug,
            kind: offer.kind,
            position,
            deleted: false,
            clicks: 0,
            created_at: Timestamp::default(),
            changed_at: Timestamp::default(),
        }
    }
}

/// The first bears the name alone.
fn numbered(name: &str, round: usize, separator: char) -> String {
    if round == 0 { name.to_owned() } else { format!("{name}{separator}{}", round + 1) }
}

/// Which profile is visited.
pub(crate) fn popularity_of_profiles(profiles: usize) -> WeightedIndex<f64> {
    falling(profiles, PROFILE_FALL)
}

fn falling(count: usize, exponent: f64) -> WeightedIndex<f64> {
    #[expect(clippy::cast_precision_loss, reason = "at most 10,000 ranks")]
    let weight = |rank: usize| (rank as f64 + 1.0).powf(-exponent);
    WeightedIndex::new((0..count).map(weight)).expect("there is at least one, and none weighs 0")
}
