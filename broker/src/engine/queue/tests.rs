//! The queue by named scenarios, and at random against naive models.

mod browse;
mod expiry;
mod features;
mod features_model;
mod held;
mod levels;
mod limits;
mod model;
mod paging;
mod paging_model;
mod random;
mod scenarios;
