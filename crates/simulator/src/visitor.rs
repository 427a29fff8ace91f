//! Who visits: made-up people with a country and a browser of their own.

use std::net::Ipv6Addr;

use crate::catalog::{BROWSERS, Browser, COUNTRIES};
use crate::chance::{choose, scatter};

/// A visitor. Everything about one follows from the seed, the profile and a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor {
    /// Unlike every other visitor's of the profile.
    pub(crate) number: u64,
    /// Where from, as far as the platform can tell.
    pub(crate) country: Option<&'static str>,
    /// On what.
    pub(crate) browser: &'static Browser,
    has_cookie: bool,
    names_device: bool,
}

impl Visitor {
    /// The visitor of this index among the profile's.
    pub(crate) fn of(seed: u64, profile: usize, index: u64) -> Self {
        let profile = u64::try_from(profile).unwrap_or(u64::MAX);
        let number = scatter(scatter(seed ^ scatter(profile)).wrapping_add(index));
        let country = choose(&COUNTRIES, scatter(number ^ 1));
        Self {
            number,
            country: (!country.is_empty()).then_some(*country),
            browser: choose(&BROWSERS, scatter(number ^ 2)),
            // A receiver has to tell visitors apart by address where a browser keeps no cookies,
            // and devices by the user agent where the platform names none.
            has_cookie: !scatter(number ^ 3).is_multiple_of(10),
            names_device: !scatter(number ^ 4).is_multiple_of(10),
        }
    }

    /// What the platform calls the visitor, if the browser lets it.
    pub(crate) fn visitor_id(&self) -> Option<String> {
        self.has_cookie.then(|| format!("v_{:016x}", self.number))
    }

    /// The device, if the platform names one.
    pub(crate) fn device(&self) -> Option<&'static str> {
        self.names_device.then_some(self.browser.device)
    }

    /// An address out of the range that is reserved for documentation: nobody's.
    pub(crate) fn ip(&self) -> Ipv6Addr {
        let low = u128::from(self.number);
        Ipv6Addr::from_bits((0x2001_0db8 << 96) | low)
    }
}
