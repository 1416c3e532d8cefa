//! Statistics: numbers that are looked at now and then, and what became of them over time.
//!
//! Pure: no clock, no locks, nothing of queues or connections. The server takes the samples ([`series::Series`]), administration asks
//! for rates ([`rates::Rates`]) in RabbitMQ's terms.

pub mod rates;
pub mod series;
pub mod tally;
