//! What happens, in order: pages are set up, people look and click, links change and go.

use std::collections::VecDeque;

use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use treehook_event::{Platform, Timestamp};

use crate::catalog::{REFERRERS, Referrer};
use crate::chance::choose;
use crate::creator::{Creator, popularity_of_profiles};
use crate::plan::TrafficPlan;
use crate::rhythm::Rhythm;
use crate::visitor::Visitor;

/// Events in one pass over the days of an endless run: about 130 an hour over a month.
const ENDLESS_LAP: u64 = 100_000;
/// How many of the visitors have been here before.
const RETURNING: f64 = 0.35;
/// How late a late event is at most, in days. Platforms deliver late after outages of theirs.
const LATEST_DAYS: i64 = 5;
/// How many of Dub's clicks make a lead: a type that nothing counts, and that names a person.
const LEADS: f64 = 0.002;
/// What platforms congratulate creators on.
const MILESTONES: [u64; 9] = [100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000];

/// One thing that happened.
#[derive(Debug)]
pub(crate) struct Happening {
    /// Counted from 0; forgeries count for themselves.
    pub(crate) number: u64,
    /// When the platform says so.
    pub(crate) at: Timestamp,
    /// When it was; earlier than `at` if it is late.
    pub(crate) own_at: Timestamp,
    /// Of which creator.
    pub(crate) creator: usize,
    /// What it was.
    pub(crate) what: What,
}

/// What can happen. Links are named by their place on the page.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    View { visitor: Visitor, referrer: &'static Referrer },
    Click { link: usize, visitor: Visitor, referrer: &'static Referrer },
    LinkCreated { link: usize },
    LinkRetitled { link: usize },
    LinkMoved { link: usize },
    LinkDeleted { link: usize },
    ProfileUpdated,
    Milestone { link: Option<usize>, metric: &'static str, threshold: u64 },
    Lead { link: usize, visitor: Visitor },
}

/// Tells what happens. The same plan from the same moment tells the same story.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) creators: Vec<Creator>,
    platform: Platform,
    seed: u64,
    rng: StdRng,
    rhythm: Rhythm,
    popularity: WeightedIndex<f64>,
    view_share: f64,
    late: f64,
    /// What happens at which number at the earliest, in order.
    scheduled: VecDeque<(u64, usize, What)>,
    /// Reached, not yet told: at most four per visit, and rare.
    milestones: VecDeque<(usize, What)>,
    told: u64,
    strays: u64,
    lap: u64,
    ends: Option<u64>,
}

impl Story {
    /// Begins a story whose days end at `started`.
    pub(crate) fn new(plan: &TrafficPlan, started: Timestamp) -> Self {
        let lap = plan.events.unwrap_or(ENDLESS_LAP).max(1);
        let (profiles, links) = population(plan, lap);
        let has_views = plan.platform != Platform::Dub;
        Self {
            creators: (0..profiles)
                .map(|index| Creator::new(plan.seed, index, links, plan.platform))
                .collect(),
            platform: plan.platform,
            seed: plan.seed,
            rng: StdRng::seed_from_u64(plan.seed),
            rhythm: Rhythm::new(started, plan.days, plan.seed),
            popularity: popularity_of_profiles(profiles),
            view_share: if has_views {
                plan.views_per_click / (1.0 + plan.views_per_click)
            } else {
                0.0
            },
            late: plan.late,
            scheduled: schedule(profiles, links, lap, plan.platform),
            milestones: VecDeque::new(),
            told: 0,
            strays: 0,
            lap,
            ends: plan.events,
        }
    }

    /// Whether everything is told.
    pub(crate) fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| self.told >= ends)
    }

    /// What happens next. `now` is when it happens if the plan spreads nothing over days.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Happening> {
        if self.is_over() {
            return None;
        }
        let number = self.told;
        self.told += 1;
        let at = self.moment(number, now);
        let (creator, what) = if let Some(milestone) = self.milestones.pop_front() {
            milestone
        } else if let Some((_, creator, what)) =
            self.scheduled.pop_front_if(|(due, ..)| *due <= number)
        {
            (creator, what)
        } else {
            self.visit()
        };
        self.apply(creator, what, at);
        Some(Happening { number, at, own_at: self.own_moment(at, what), creator, what })
    }

    /// A visit that nobody will believe: it leaves no trace in the story.
    pub(crate) fn stray(&mut self, now: Timestamp) -> Happening {
        let number = self.strays;
        self.strays += 1;
        let at = self.moment(self.told, now);
        let creator = self.popularity.sample(&mut self.rng);
        let visitor = Visitor::of(self.seed, creator, self.rng.random());
        let link = self.creators[creator].pick_link(&mut self.rng);
        let what = What::Click { link, visitor, referrer: self.referrer() };
        Happening { number, at, own_at: at, creator, what }
    }

    fn moment(&mut self, number: u64, now: Timestamp) -> Timestamp {
        #[expect(clippy::cast_precision_loss, reason = "a place among many")]
        let share = ((number % self.lap) as f64 + self.rng.random::<f64>()) / self.lap as f64;
        self.rhythm.moment(share).unwrap_or(now)
    }

    fn own_moment(&mut self, at: Timestamp, what: What) -> Timestamp {
        let is_visit = matches!(what, What::View { .. } | What::Click { .. });
        if is_visit && self.rng.random_bool(self.late) {
            let hours = self.rng.random_range(24..=LATEST_DAYS * 24);
            at.plus_millis(-hours * 3_600_000)
        } else {
            at
        }
    }

    fn visit(&mut self) -> (usize, What) {
        let creator = self.popularity.sample(&mut self.rng);
        let referrer = self.referrer();
        if self.rng.random_bool(self.view_share) {
            let index = self.somebody(creator);
            self.creators[creator].last_viewer = Some(index);
            let visitor = Visitor::of(self.seed, creator, index);
            return (creator, What::View { visitor, referrer });
        }
        let index = match self.creators[creator].last_viewer {
            Some(viewer) => viewer,
            None => self.somebody(creator),
        };
        let visitor = Visitor::of(self.seed, creator, index);
        let link = self.creators[creator].pick_link(&mut self.rng);
        if self.platform == Platform::Dub && self.rng.random_bool(LEADS) {
            return (creator, What::Lead { link, visitor });
        }
        (creator, What::Click { link, visitor, referrer })
    }

    /// Somebody who has been here before, or a new visitor.
    fn somebody(&mut self, creator: usize) -> u64 {
        let creator = &mut self.creators[creator];
        if creator.crowd > 0 && self.rng.random_bool(RETURNING) {
            return self.rng.random_range(0..creator.crowd);
        }
        creator.crowd += 1;
        creator.crowd - 1
    }

    fn referrer(&mut self) -> &'static Referrer {
        choose(&REFERRERS, self.rng.random())
    }

    /// What has happened changes the pages and the counts.
    fn apply(&mut self, index: usize, what: What, at: Timestamp) {
        let creator = &mut self.creators[index];
        match what {
            What::View { .. } => {
                creator.views += 1;
                let reached = [(None, "views", creator.views)];
                self.congratulate(index, reached);
            }
            What::Click { link, .. } => {
                creator.clicks += 1;
                creator.links[link].clicks += 1;
                let of_link = creator.links[link].clicks;
                let reached = [(None, "clicks", creator.clicks), (Some(link), "clicks", of_link)];
                self.congratulate(index, reached);
            }
            What::LinkCreated { link } => {
                creator.links[link].created_at = at;
                creator.links[link].changed_at = at;
            }
            What::LinkRetitled { link } => {
                creator.links[link].title.push_str(" (updated)");
                creator.links[link].changed_at = at;
            }
            What::LinkMoved { link } => {
                creator.links[link].url.push_str("?from=bio");
                creator.links[link].changed_at = at;
            }
            What::LinkDeleted { link } => {
                creator.links[link].deleted = true;
                creator.links[link].changed_at = at;
            }
            What::ProfileUpdated | What::Milestone { .. } | What::Lead { .. } => (),
        }
    }

    fn congratulate<const N: usize>(
        &mut self,
        creator: usize,
        reached: [(Option<usize>, &'static str, u64); N],
    ) {
        // Dub sends no milestones.
        if self.platform == Platform::Dub {
            return;
        }
        for (link, metric, threshold) in reached {
            if MILESTONES.contains(&threshold) {
                self.milestones.push_back((creator, What::Milestone { link, metric, threshold }));
            }
        }
    }
}

/// How many profiles and links: in a short story fewer, so that it is not all announcements.
fn population(plan: &TrafficPlan, lap: u64) -> (usize, usize) {
    let bounded = |wanted: u32, most: u64| {
        usize::try_from(u64::from(wanted).min(most.max(1))).unwrap_or(usize::MAX)
    };
    let profiles = bounded(plan.profiles, lap / 8);
    let per_profile = lap / 4 / u64::try_from(profiles).unwrap_or(u64::MAX);
    (profiles, bounded(plan.links, per_profile.saturating_sub(1)))
}

/// First every page is set up; later some of it changes, and the last link of each page goes.
fn schedule(
    profiles: usize,
    links: usize,
    lap: u64,
    platform: Platform,
) -> VecDeque<(u64, usize, What)> {
    let has_profiles = platform != Platform::Dub;
    let mut scheduled = Vec::new();
    for creator in 0..profiles {
        if has_profiles {
            scheduled.push((0, creator, What::ProfileUpdated));
        }
        scheduled.extend((0..links).map(|link| (0, creator, What::LinkCreated { link })));
        scheduled.push((lap / 10 * 4, creator, What::LinkRetitled { link: 0 }));
        if has_profiles {
            scheduled.push((lap / 10 * 5, creator, What::ProfileUpdated));
        }
        scheduled.push((lap / 10 * 6, creator, What::LinkMoved { link: links / 2 }));
        if links > 1 {
            scheduled.push((lap / 10 * 8, creator, What::LinkDeleted { link: links - 1 }));
        }
    }
    // Stable: within a number the order above stays.
    scheduled.sort_by_key(|(due, ..)| *due);
    scheduled.into()
}
