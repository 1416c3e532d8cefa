//! Numbers with their rates in JSON, and the parameters that ask for how they were.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::Api;
use super::error::ApiError;
use super::fields::Fields;
use crate::server::admin::{Admin, Measure, Windows};
use crate::stats::rates::{Rates, Window};

/// What of the past a request wants to see: `lengths_age` and `lengths_incr`, `msg_rates_...`, `data_rates_...`, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past(pub(super) Windows);

impl FromRequestParts<Api> for Past {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, api).await;
        let Query(pairs) = query.map_err(|_| ApiError::bad_request("the query cannot be read"))?;
        Ok(Self::new(&pairs))
    }
}

impl Past {
    fn new(pairs: &[(String, String)]) -> Self {
        let number = |name: String| {
            let (_, value) = pairs.iter().find(|(key, _)| *key == name)?;
            value.parse::<u64>().ok()
        };
        let window =
            |what: &str| Window::new(number(format!("{what}_age"))?, number(format!("{what}_incr"))?);
        Self(Windows {
            lengths: window("lengths"),
            messages: window("msg_rates"),
            data: window("data_rates"),
        })
    }
}

/// Adds numbers, each with its `_details`.
pub(super) fn add(out: &mut Fields<'_>, measures: &[Measure]) {
    for measure in measures {
        out.add(measure.name, || measure.value);
        out.add(&details_name(measure), || Details(&measure.rates));
    }
}

fn details_name(measure: &Measure) -> String {
    format!("{}_details", measure.name)
}

/// An object of numbers.
pub(super) struct Numbers<'a>(pub(super) &'a [Measure]);

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2 * self.0.len()))?;
        for measure in self.0 {
            object.serialize_entry(measure.name, &measure.value)?;
            object.serialize_entry(&details_name(measure), &Details(&measure.rates))?;
        }
        object.end()
    }
}

/// An object of numbers, unless nothing was counted yet: RabbitMQ leaves it out then.
pub(super) fn if_any(measures: &[Measure]) -> Option<Numbers<'_>> {
    (!measures.is_empty()).then_some(Numbers(measures))
}

/// The sums of the queues of virtual hosts.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) lengths: Vec<Measure>,
    pub(super) message_stats: Vec<Measure>,
    pub(super) queues: u64,
    pub(super) consumers: u64,
}

impl Totals {
    pub(super) fn of<S: AsRef<str>>(admin: &Admin, vhosts: &[S]) -> Self {
        let mut totals = Self::default();
        for view in vhosts.iter().flat_map(|vhost| admin.queues(Some(vhost.as_ref()), Windows::default())) {
            sum(&mut totals.lengths, &view.lengths);
            sum(&mut totals.message_stats, &view.message_stats);
            totals.queues += 1;
            totals.consumers += u64::from(view.consumer_count);
        }
        totals
    }
}

fn sum(all: &mut Vec<Measure>, more: &[Measure]) {
    for measure in more {
        match all.iter_mut().find(|known| known.name == measure.name) {
            Some(known) => {
                known.value += measure.value;
                known.rates.rate += measure.rates.rate;
            }
            None => all.push(measure.clone()),
        }
    }
}

struct Details<'a>(&'a Rates);

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("rate", &self.0.rate)?;
        if let Some(history) = &self.0.history {
            let sample = |(at_ms, value): &(u64, u64)| json!({"sample": value, "timestamp": at_ms});
            object.serialize_entry("samples", &history.samples.iter().map(sample).collect::<Vec<_>>())?;
            object.serialize_entry("avg_rate", &history.average_rate)?;
            object.serialize_entry("avg", &history.average)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_need_both_age_and_increment() {
        let past = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Past::new(&pairs).0
        };
        let asked = past(&[("lengths_age", "60"), ("lengths_incr", "5"), ("msg_rates_age", "60")]);
        assert_eq!(asked.lengths, Window::new(60, 5));
        assert_eq!((asked.messages, asked.data), (None, None));
        assert_eq!(past(&[("lengths_age", "x"), ("lengths_incr", "5")]).lengths, None);
    }
}
