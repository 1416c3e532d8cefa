//! `/api/events`: what happens in the broker, as a stream of server-sent events. RabbitMQ has the same at an exchange only.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::stream;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use crate::access::Tag;
use crate::http::Api;
use crate::http::caller::{Caller, Monitor};
use crate::http::error::ApiError;
use crate::http::listener::stopped;
use crate::http::table;
use crate::server::admin::{Admin, EventListener, Heard, ToldEvent};

/// Patterns that one listener may give.
const PATTERNS_MAX: usize = 32;

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new().route("/events", get(listen))
}

async fn listen(
    _: Monitor,
    caller: Caller,
    State(api): State<Api>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let types = query.iter().filter(|(name, _)| name == "type").flat_map(|(_, types)| types.split(','));
    let patterns: Vec<String> = types.filter(|text| !text.is_empty()).map(str::to_owned).collect();
    if patterns.len() > PATTERNS_MAX {
        return Err(ApiError::bad_request(format!("at most {PATTERNS_MAX} types")));
    }
    let listener = api.admin.listen().ok_or_else(|| {
        ApiError::unavailable("too many listen to events already: end one of them, or try again later")
    })?;
    let Api { admin, stopping, keep_alive, .. } = api;
    let now = Instant::now();
    let mut alive = interval_at(now + keep_alive, keep_alive);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ends_at = caller.ends_in(&admin).and_then(|left| now.checked_add(left));
    let listening = Listening { listener, patterns, alive, ends_at, stopping, caller, admin, greeted: false };
    let events = stream::unfold(listening, |mut listening| async move {
        let event = listening.next().await?;
        Some((Ok::<Event, Infallible>(event), listening))
    });
    Ok(Sse::new(events).into_response())
}

/// Somebody who listens.
struct Listening {
    listener: EventListener,
    /// Which types; all if there are none.
    patterns: Vec<String>,
    alive: Interval,
    /// When the token expires that it has shown.
    ends_at: Option<Instant>,
    stopping: watch::Receiver<bool>,
    caller: Caller,
    admin: Admin,
    greeted: bool,
}

impl Listening {
    /// What to send next; none at the end.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            // From here on nothing is missed.
            return Some(Event::default().comment("listening"));
        }
        loop {
            tokio::select! {
                heard = self.listener.next() => match heard? {
                    Heard::Missed(count) => return Some(written("lagged", &json!({"missed": count}))),
                    Heard::Event(event) if self.wants(event.kind) => return Some(told(&event)),
                    Heard::Event(_) => {}
                },
                _ = self.alive.tick() => {
                    if !self.caller.still_has(&self.admin, Tag::Monitoring) {
                        return None;
                    }
                    return Some(Event::default().comment("still here"));
                }
                () = reached(self.ends_at) => return None,
                () = stopped(&mut self.stopping) => return None,
            }
        }
    }

    fn wants(&self, kind: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| matches(pattern, kind))
    }
}

/// Waits for a moment, for ever if there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A type, or the beginning of some with a `*` behind it.
fn matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => kind.starts_with(beginning),
        None => kind == pattern,
    }
}

fn told(event: &ToldEvent) -> Event {
    let headers = table::to_json(&event.headers);
    written(event.kind, &json!({"type": event.kind, "timestamp": event.at_ms, "headers": headers}))
}

/// One event on the wire. JSON has no line ends that could end it early.
fn written(kind: &str, data: &serde_json::Value) -> Event {
    Event::default().event(kind).data(data.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_type_or_its_beginning() {
        for (pattern, kind, expected) in [
            ("queue.created", "queue.created", true),
            ("queue.created", "queue.deleted", false),
            ("queue.*", "queue.deleted", true),
            ("queue*", "queue.deleted", true),
            ("*", "alarm.set", true),
            ("queue", "queue.created", false),
        ] {
            assert_eq!(matches(pattern, kind), expected, "{pattern} {kind}");
        }
    }
}
