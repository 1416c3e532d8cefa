//! Numbers with their rates in JSON, and the parameters that ask for how they were.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde_json::{Map, Value, json};

use super::Api;
use super::error::ApiError;
use crate::server::admin::{Measure, Windows};
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

/// Adds a number and its `_details`.
pub(super) fn add(object: &mut Map<String, Value>, measure: &Measure) {
    object.insert(measure.name.to_owned(), measure.value.into());
    object.insert(format!("{}_details", measure.name), details(&measure.rates));
}

/// An object of numbers.
pub(super) fn object_of(measures: &[Measure]) -> Map<String, Value> {
    let mut object = Map::new();
    for measure in measures {
        add(&mut object, measure);
    }
    object
}

fn details(rates: &Rates) -> Value {
    let Some(history) = &rates.history else { return json!({"rate": rates.rate}) };
    let samples: Vec<Value> =
        history.samples.iter().map(|(at_ms, value)| json!({"sample": value, "timestamp": at_ms})).collect();
    json!({
        "rate": rates.rate,
        "samples": samples,
        "avg_rate": history.average_rate,
        "avg": history.average,
    })
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
