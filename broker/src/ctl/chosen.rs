//! Commands that look at the messages of a queue without touching them, and that move or delete chosen ones.

use std::io::{IsTerminal as _, stderr};

use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use super::Session;
use super::command::chosen::{Browse, Choice, Conditions, Delete, Move, Unacked};
use super::failure::{Failure, UNAVAILABLE, USAGE};
use super::path::{api_path, encoded};

/// Messages that one request gives at most.
const LOOK_COUNT: u64 = 1_000;

/// Ids that one request names at most.
const IDS_COUNT: usize = 1_000;

/// Messages that one request moves or deletes at most: few enough that progress is seen.
const CHOSEN_COUNT: u64 = 2_000;

/// `browse`.
pub(super) fn browse(session: &Session, args: &Browse) -> Result<(), Failure> {
    let path = api_path(&["queues", &session.vhost, &args.queue, "messages"]);
    let mut begin = match &args.after {
        Some(id) => format!("after={}", encoded(id)),
        None => format!("from={}", args.from),
    };
    let with_position = args.after.is_none();
    let (mut rows, mut left) = (Vec::new(), u64::from(args.count));
    let columns = [
        "id",
        "position",
        "exchange",
        "routing_key",
        "redelivered",
        "payload_bytes",
        "payload",
        "payload_encoding",
        "properties",
    ];
    while left > 0 {
        session.api.check_deadline()?;
        let count = left.min(LOOK_COUNT);
        let conditions = query_of(&args.conditions);
        let query = format!("?{begin}&count={count}&max_body_bytes={}{conditions}", args.body_bytes);
        let seen = session
            .api
            .get_path(&(path.clone() + &query))
            .map_err(|failure| missing(failure, session, &args.queue))?;
        for message in seen["messages"].as_array().into_iter().flatten() {
            rows.push(columns.iter().map(|&column| message[column].clone()).collect());
            left = left.saturating_sub(1);
        }
        begin = match (with_position, seen["next_position"].as_u64(), seen["next"].as_str()) {
            (true, Some(position), _) => format!("from={position}"),
            (false, _, Some(id)) => format!("after={}", encoded(id)),
            _ => break,
        };
    }
    session.out.rows(&columns, &rows);
    Ok(())
}

/// `list_unacked`.
pub(super) fn unacked(session: &Session, args: &Unacked) -> Result<(), Failure> {
    let path = api_path(&["queues", &session.vhost, &args.queue, "unacked"]);
    let fixed = format!("min_age={}&max_body_bytes={}", args.min_age, args.body_bytes);
    let columns = [
        "id",
        "age",
        "holder",
        "consumer_tag",
        "channel",
        "redelivered",
        "exchange",
        "routing_key",
        "payload_bytes",
        "payload",
        "payload_encoding",
    ];
    let cell = |message: &Value, column| match column {
        "age" => message["age_ms"].as_u64().map(|age_ms| age_ms / 1000).into(),
        "consumer_tag" => message["consumer"]["consumer_tag"].clone(),
        "channel" => message["consumer"]["channel_details"]["name"].clone(),
        other => message[other].clone(),
    };
    let (mut rows, mut left, mut after) = (Vec::new(), u64::from(args.count), String::new());
    while left > 0 {
        session.api.check_deadline()?;
        let query = format!("?{fixed}&count={}{after}", left.min(LOOK_COUNT));
        let seen = session
            .api
            .get_path(&(path.clone() + &query))
            .map_err(|failure| missing(failure, session, &args.queue))?;
        for message in seen["messages"].as_array().into_iter().flatten() {
            rows.push(columns.iter().map(|&column| cell(message, column)).collect());
            left = left.saturating_sub(1);
        }
        match seen["next"].as_str() {
            Some(place) => after = format!("&after={}", encoded(place)),
            None => break,
        }
    }
    session.out.rows(&columns, &rows);
    Ok(())
}

fn missing(failure: Failure, session: &Session, queue: &str) -> Failure {
    failure.if_not_found(UNAVAILABLE, format!("there is no queue '{queue}' in vhost '{}'", session.vhost))
}

fn query_of(conditions: &Conditions) -> String {
    let Conditions { header, text, exchange, routing_key, message_id } = conditions;
    let single =
        [("text", text), ("exchange", exchange), ("routing_key", routing_key), ("message_id", message_id)];
    let single = single.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let all = header.iter().map(|header| ("header", header.as_str())).chain(single);
    all.map(|(name, value)| format!("&{name}={}", encoded(value))).collect()
}

fn filter_of(conditions: &Conditions) -> Value {
    let Conditions { header, text, exchange, routing_key, message_id } = conditions;
    let mut filter = Map::new();
    let single =
        [("text", text), ("exchange", exchange), ("routing_key", routing_key), ("message_id", message_id)];
    for (name, value) in single {
        if let Some(value) = value {
            filter.insert(name.to_owned(), value.as_str().into());
        }
    }
    let headers = header.iter().map(|header| match header.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.into()),
        None => (header.clone(), Value::Null),
    });
    filter.insert("headers".to_owned(), Value::Object(headers.collect()));
    filter.into()
}

/// `move`.
pub(super) fn move_to(session: &Session, args: &Move) -> Result<(), Failure> {
    let (vhost, source, destination) = (&session.vhost, &args.source, &args.destination);
    let kind = if args.to_exchange { "exchange" } else { "queue" };
    session.out.banner(&format!(
        "Moving messages of queue '{source}' to {kind} '{destination}' in vhost '{vhost}' ..."
    ));
    let mut body = Map::new();
    body.insert(format!("destination_{kind}"), destination.as_str().into());
    if let Some(key) = &args.to_key {
        body.insert("routing_key".to_owned(), key.as_str().into());
    }
    let done = carry_out(session, source, "move", &args.choice, &body)?;
    report(session, "moved", &done)?;
    let kept = done.unroutable + done.refused;
    if kept > 0 {
        let text = format!(
            "{kept} messages stay in queue '{source}': {} found no queue, {} were refused by one",
            done.unroutable, done.refused
        );
        return Err(Failure::new(UNAVAILABLE, text));
    }
    Ok(())
}

/// `delete_messages`.
pub(super) fn delete(session: &Session, args: &Delete) -> Result<(), Failure> {
    let (vhost, queue) = (&session.vhost, &args.queue);
    session.out.banner(&format!("Deleting messages of queue '{queue}' in vhost '{vhost}' ..."));
    let done = carry_out(session, queue, "delete", &args.choice, &Map::new())?;
    report(session, "deleted", &done)
}

/// What became of messages over all requests.
#[derive(Debug, Default)]
struct Done {
    done: u64,
    unroutable: u64,
    refused: u64,
    gone: u64,
    not_found: Vec<String>,
}

impl Done {
    fn add(&mut self, answer: &Value) {
        let count = |name: &str| answer[name].as_u64().unwrap_or(0);
        self.done += count("moved") + count("deleted");
        self.unroutable += count("unroutable");
        self.refused += count("refused");
        self.gone += count("gone");
        let ids = answer["not_found"].as_array().into_iter().flatten();
        self.not_found.extend(ids.filter_map(|id| Some(id.as_str()?.to_owned())));
    }
}

fn carry_out(
    session: &Session,
    queue: &str,
    what: &str,
    choice: &Choice,
    body: &Map<String, Value>,
) -> Result<Done, Failure> {
    let segments = ["queues", &session.vhost, queue, "messages", what];
    let post = |more: Value| {
        session.api.check_deadline()?;
        let mut body = body.clone();
        if let Value::Object(more) = more {
            body.extend(more);
        }
        session.api.post(&segments, &body.into())
    };
    let missing = |failure| missing(failure, session, queue);
    let mut done = Done::default();
    if !choice.ids.is_empty() {
        for ids in choice.ids.chunks(IDS_COUNT) {
            done.add(&post(json!({"ids": ids}))?);
        }
        return Ok(done);
    }
    let filter = filter_of(&choice.conditions);
    let empty = json!({"headers": {}});
    if !choice.all && filter == empty && choice.count.is_none() {
        return Err(Failure::new(
            USAGE,
            "say which messages: --ids, --all, --count or a condition such as --text",
        ));
    }
    // What comes meanwhile is not meant.
    let found = session.api.get(&["queues", &session.vhost, queue]).map_err(missing)?;
    let there = found["messages_ready"].as_u64().unwrap_or(0);
    let bar = if stderr().is_terminal() { ProgressBar::new(there) } else { ProgressBar::hidden() };
    let (mut left, mut scanned, mut after) = (choice.count.unwrap_or(u64::MAX), 0, Value::Null);
    while left > 0 && scanned < there {
        let count = left.min(CHOSEN_COUNT).min(there);
        let answer = post(json!({"filter": filter, "after": after, "count": count}))?;
        let before = done.done;
        done.add(&answer);
        left -= (done.done - before).min(left);
        scanned += answer["scanned"].as_u64().unwrap_or(0);
        bar.set_position(scanned);
        after = answer["next"].clone();
        if after.is_null() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(done)
}

fn report(session: &Session, what: &str, done: &Done) -> Result<(), Failure> {
    if session.out.is_json() {
        let mut answer = json!({"gone": done.gone, "not_found": done.not_found});
        answer[what] = done.done.into();
        if what == "moved" {
            answer["unroutable"] = done.unroutable.into();
            answer["refused"] = done.refused.into();
        }
        session.out.value(&answer);
    } else {
        session.out.note(&format!("{} messages {what}", done.done));
        if done.gone > 0 {
            session.out.note(&format!("{} were consumed meanwhile", done.gone));
        }
    }
    if done.not_found.is_empty() {
        return Ok(());
    }
    let ids = done.not_found.join(", ");
    Err(Failure::new(UNAVAILABLE, format!("not in the queue any more: {ids}")))
}
