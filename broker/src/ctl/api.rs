//! [`Api`]: the HTTP API as the commands see it: JSON in, JSON or a [`Failure`] out.

use std::time::{Duration, Instant};

use serde_json::Value;
use warren::fetch::Answer;

use super::failure::{Failure, SOFTWARE, TEMPORARY, UNAVAILABLE};
use super::path::api_path;
use super::target::{Sent, Target, basic};

/// A broker's API, for the time that one command may take.
#[derive(Debug)]
pub(super) struct Api {
    target: Target,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Api {
    /// The API of a broker; without a timeout a request may take as long as it takes.
    pub(super) fn new(target: Target, timeout: Option<Duration>) -> Self {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { target, timeout, deadline }
    }

    /// The broker.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// What is at a path.
    pub(super) fn get(&self, segments: &[&str]) -> Result<Value, Failure> {
        self.get_path(&api_path(segments))
    }

    /// The same for a path that is encoded already, with a query.
    pub(super) fn get_path(&self, path: &str) -> Result<Value, Failure> {
        json(&self.call("GET", path, None)?)
    }

    /// Puts something at a path.
    pub(super) fn put(&self, segments: &[&str], body: &Value) -> Result<(), Failure> {
        self.call("PUT", &api_path(segments), Some(body)).map(drop)
    }

    /// Sends something to a path, and reads the answer; null if there is none.
    pub(super) fn post(&self, segments: &[&str], body: &Value) -> Result<Value, Failure> {
        let answer = self.call("POST", &api_path(segments), Some(body))?;
        if answer.body.is_empty() { Ok(Value::Null) } else { json(&answer) }
    }

    /// Deletes what is at a path.
    pub(super) fn delete(&self, segments: &[&str]) -> Result<(), Failure> {
        self.call("DELETE", &api_path(segments), None).map(drop)
    }

    /// The same with the reason that RabbitMQ's `X-Reason` header carries.
    pub(super) fn delete_because(&self, segments: &[&str], reason: &str) -> Result<(), Failure> {
        let reason = [("x-reason", reason)];
        successful(self.target.send(
            &Sent { method: "DELETE", path: &api_path(segments), fields: &reason, ..Sent::default() },
            self.left()?,
        )?)
        .map(drop)
    }

    /// What `rabbitmqctl` says of the time that a list may take.
    pub(super) fn allowed(&self) -> String {
        match self.timeout {
            Some(timeout) => format!("Timeout: {:.1} seconds ...", timeout.as_secs_f64()),
            None => "Timeout: infinity ...".to_owned(),
        }
    }

    /// Whether there is something at a path.
    pub(super) fn exists(&self, segments: &[&str]) -> Result<bool, Failure> {
        match self.get(segments) {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_not_found() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Asks as somebody else.
    pub(super) fn get_as(&self, user: &str, password: &str, segments: &[&str]) -> Result<Value, Failure> {
        let path = api_path(segments);
        let login = basic(user, password);
        let target = self.target.with_login(user, password);
        let answer = target
            .send(&Sent { path: &path, authorization: Some(&login), ..Sent::default() }, self.left()?)?;
        json(&successful(answer)?)
    }

    /// A request, of which only success is of use.
    pub(super) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let body = body.map(Value::to_string);
        self.call_raw(method, path, body.as_deref().map(str::as_bytes))
    }

    /// The same with a body that is text already.
    pub(super) fn call_raw(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Answer, Failure> {
        successful(self.target.send(&Sent { method, path, body, ..Sent::default() }, self.left()?)?)
    }

    /// Fails when the time is over.
    pub(super) fn check_deadline(&self) -> Result<(), Failure> {
        self.left().map(drop)
    }

    /// The time that is left.
    fn left(&self) -> Result<Option<Duration>, Failure> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::new(TEMPORARY, "the operation timed out; see --timeout"));
        }
        Ok(Some(left))
    }
}

fn successful(answer: Answer) -> Result<Answer, Failure> {
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    let said: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let said = |key: &str| said.as_ref()?.get(key)?.as_str().map(str::to_owned);
    let reason = said("reason").filter(|reason| !reason.is_empty()).or_else(|| said("error"));
    Err(Failure::answered(answer.status, reason.unwrap_or_else(|| format!("HTTP status {}", answer.status))))
}

fn json(answer: &Answer) -> Result<Value, Failure> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::new(SOFTWARE, format!("the broker's answer is not JSON: {error}")))
}

/// Reads JSON that somebody typed; it has to be an object.
pub(super) fn object(what: &str, text: &str) -> Result<Value, Failure> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Failure::new(
            UNAVAILABLE,
            format!("the {what} has to be a JSON object, such as {{\"key\":1}}"),
        )),
        Err(error) => Err(Failure::new(UNAVAILABLE, format!("the {what} is not JSON: {error}"))),
    }
}
