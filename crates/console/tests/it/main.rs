//! The console as its clients see it: requests in, answers out, over a store of canned rows.

mod answers;
mod document;
mod doors;
mod fixture;
mod letters;
mod pages;
mod refusals;
mod small;
mod time;
