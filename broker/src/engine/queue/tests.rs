//! The queue by named scenarios, and at random against a naive model.

mod model;
mod scenarios;
