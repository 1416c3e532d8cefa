//! Reading definitions, RabbitMQ's own exports among them.
//!
//! All of it is read, and then rehearsed, before any of it is done, so that what is malformed, names what is not there or would be
//! refused changes nothing. Users, virtual hosts and what they may do come first and bindings last; what is there already stays as
//! it is, except for users, permissions and policies, which are replaced, and virtual hosts, which take what is said of them.

use serde_json::{Map, Value};

use super::references;
use crate::access::password::{PasswordHash, SHA256};
use crate::access::{UserLimits, VHostSettings};
use crate::engine::policy::PolicyKind;
use crate::error::AmqpError;
use crate::http::body::Sent;
use crate::http::error::ApiError;
use crate::http::routes::acting::arguments_in;
use crate::http::routes::parameters::Meaning;
use crate::http::routes::{limits, permissions, policies, users, vhosts};
use crate::server::admin::{Admin, NewPassword, Rehearsal, Stage};
use crate::session::action::{BindingChange, TopologyRequest};

/// Something to do, with what it is about.
struct Step {
    what: String,
    action: Box<Action>,
    /// It is kept, and does nothing here.
    is_idle: bool,
}

/// Done twice: in the rehearsal and in earnest.
type Action = dyn Fn(&mut dyn Stage) -> Result<(), ApiError>;

impl Step {
    fn new(what: String, action: impl Fn(&mut dyn Stage) -> Result<(), ApiError> + 'static) -> Self {
        Self { what, action: Box::new(action), is_idle: false }
    }

    fn perform(&self, stage: &mut dyn Stage) -> Result<(), ApiError> {
        (self.action)(stage).map_err(|error| error.about(&self.what))
    }
}

/// One kind of thing in definitions: its list, and how to read an entry for a virtual host.
type Section = (&'static str, fn(&Sent, &str) -> Result<Option<Step>, ApiError>);

/// In the order in which they are done.
const WHOLE: &[Section] = &[
    ("vhosts", vhost),
    ("users", user),
    ("permissions", permission),
    ("topic_permissions", topic_permission),
    ("global_parameters", global_parameter),
];

/// What a virtual host's own definitions may contain.
const OF_VHOST: &[Section] = &[
    ("parameters", parameter),
    ("policies", policy),
    ("exchanges", exchange),
    ("queues", queue),
    ("bindings", binding),
];

/// Imports definitions; with `only`, those of a virtual host into that one.
pub(in crate::http) fn import(
    admin: &Admin,
    only: Option<&str>,
    mut fields: Map<String, Value>,
) -> Result<(), ApiError> {
    references::check(admin, only, &fields)?;
    let mut steps = Vec::new();
    let whole: &[Section] = if only.is_none() { WHOLE } else { &[] };
    for (section, read) in whole.iter().chain(OF_VHOST) {
        let entries = match fields.remove(*section) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(ApiError::bad_request(format!("{section} has to be an array"))),
        };
        for (at, entry) in entries.into_iter().enumerate() {
            let Value::Object(entry) = entry else {
                return Err(ApiError::bad_request(format!("{section}[{at}] has to be an object")));
            };
            let sent = Sent::from(entry);
            let place = |error: ApiError| error.about(&format!("{section}[{at}]"));
            let vhost = match (only, *section) {
                (Some(vhost), _) => vhost,
                (None, "vhosts" | "users" | "global_parameters") => "",
                (None, _) => sent.need_text("vhost").map_err(place)?,
            };
            steps.extend(read(&sent, vhost).map_err(place)?);
        }
    }
    let mut rehearsal = Rehearsal::new(admin);
    steps.iter().try_for_each(|step| step.perform(&mut rehearsal))?;
    drop(rehearsal);
    let mut broker = admin.clone();
    for step in &steps {
        step.perform(&mut broker)?;
        if step.is_idle {
            tracing::warn!(what = step.what, "definitions: something was kept that does nothing here");
        }
    }
    tracing::info!(entries = steps.len(), "definitions imported");
    Ok(())
}

/// One that is there takes what is said of it, as in RabbitMQ, and keeps the rest.
fn vhost(sent: &Sent, _: &str) -> Result<Option<Step>, ApiError> {
    let name = sent.need_text("name")?.to_owned();
    let metadata = sent.get("metadata").and_then(Value::as_object);
    let said = vhosts::SETTINGS.into_iter().filter_map(|setting| {
        let value = sent.get(setting).or_else(|| metadata?.get(setting))?;
        Some((setting.to_owned(), value.clone()))
    });
    let said = Sent::from(said.collect::<Map<_, _>>());
    vhosts::settings_in(&said, VHostSettings::default())?;
    Ok(Some(Step::new(format!("vhost '{name}'"), move |stage| {
        let known = stage.settings(&name).map(|known| VHostSettings::clone(&known));
        Ok(stage.put_vhost(&name, vhosts::settings_in(&said, known.unwrap_or_default())?)?)
    })))
}

fn user(sent: &Sent, _: &str) -> Result<Option<Step>, ApiError> {
    let name = sent.need_text("name")?.to_owned();
    let tags = users::tags_in(sent.get("tags").unwrap_or(&Value::String(String::new())))?;
    let password = match (sent.text("password_hash")?, sent.text("password")?) {
        (Some(hash), _) => {
            // RabbitMQ names the algorithm since 3.6; what it does not name is its default.
            let algorithm = sent.text("hashing_algorithm")?.unwrap_or(SHA256);
            NewPassword::Hash(PasswordHash::parse(algorithm, hash)?)
        }
        (None, Some(password)) if !password.is_empty() => NewPassword::Plain(password.as_bytes().to_vec()),
        (None, _) => NewPassword::None,
    };
    let mut user_limits = UserLimits::default();
    let given = match sent.get("limits") {
        Some(Value::Object(given)) => given.clone(),
        _ => Map::new(),
    };
    for (limit, value) in &given {
        limits::change_user(&mut user_limits, limit, value)?;
    }
    Ok(Some(Step::new(format!("user '{name}'"), move |stage| {
        stage.put_user(&name, password.clone(), tags.clone())?;
        if !given.is_empty() {
            stage.set_user_limits(&name, user_limits)?;
        }
        Ok(())
    })))
}

fn permission(sent: &Sent, vhost: &str) -> Result<Option<Step>, ApiError> {
    let (user, vhost) = (sent.need_text("user")?.to_owned(), vhost.to_owned());
    let permissions = permissions::permissions_in(sent)?;
    Ok(Some(Step::new(format!("permissions of user '{user}' in vhost '{vhost}'"), move |stage| {
        Ok(stage.set_permissions(&user, &vhost, permissions.clone())?)
    })))
}

fn topic_permission(sent: &Sent, vhost: &str) -> Result<Option<Step>, ApiError> {
    let (user, vhost) = (sent.need_text("user")?.to_owned(), vhost.to_owned());
    let (exchange, permissions) = permissions::topic_in(sent)?;
    Ok(Some(Step::new(format!("topic permissions of user '{user}' in vhost '{vhost}'"), move |stage| {
        Ok(stage.set_topic_permissions(&user, &vhost, &exchange, permissions.clone())?)
    })))
}

fn global_parameter(sent: &Sent, _: &str) -> Result<Option<Step>, ApiError> {
    let (name, value) = (sent.need_text("name")?.to_owned(), sent.need_any("value")?.clone());
    Ok(Some(Step::new(format!("global parameter '{name}'"), move |stage| {
        Ok(stage.set_global_parameter(&name, value.clone())?)
    })))
}

/// Limits of virtual hosts and operator policies. Others belong to plugins that this broker has not: they are kept, and the log says
/// that they do nothing.
fn parameter(sent: &Sent, vhost: &str) -> Result<Option<Step>, ApiError> {
    let (component, name) = (sent.need_text("component")?.to_owned(), sent.need_text("name")?.to_owned());
    let meaning = Meaning::of(&component, sent.need_any("value")?)?;
    let vhost = vhost.to_owned();
    let what = format!("{component} parameter '{name}' in vhost '{vhost}'");
    let is_idle = matches!(meaning, Meaning::None(_));
    let step = Step::new(what, move |stage| meaning.apply(stage, &vhost, &component, &name));
    Ok(Some(Step { is_idle, ..step }))
}

fn policy(sent: &Sent, vhost: &str) -> Result<Option<Step>, ApiError> {
    policy_step(PolicyKind::User, sent, sent.need_text("name")?.to_owned(), vhost.to_owned()).map(Some)
}

fn policy_step(kind: PolicyKind, sent: &Sent, name: String, vhost: String) -> Result<Step, ApiError> {
    let declare = policies::declare_in(sent)?;
    Ok(Step::new(format!("{kind} '{name}' in vhost '{vhost}'"), move |stage| {
        Ok(stage.set_policy(kind, &vhost, &name, declare.clone())?)
    }))
}

fn exchange(sent: &Sent, vhost: &str) -> Result<Option<Step>, ApiError> {
    let (name, kind) = (sent.need_text("name")?.to_owned(), sent.need_text("type")?.to_owned());
    let durable = sent.boolean("durable")?.unwrap_or(true);
    let auto_delete = sent.boolean("auto_delete")?.unwrap_or(false);
    let internal = sent.boolean("internal")?.unwrap_or(false);
    let (arguments, vhost) = (arguments_in(sent)?, vhost.to_owned());
    let (what, passive) = (format!("exchange '{name}' in vhost '{vhost}'"), false);
    let declare =
        TopologyRequest::DeclareExchange { name, kind, passive, durable, auto_delete, internal, arguments };
    Ok(Some(declaring(what, vhost, declare)))
}

fn queue(sent: &Sent, vhost: &str) -> Result<Option<Step>, ApiError> {
    let name = sent.need_text("name")?.to_owned();
    if name.is_empty() {
        return Err(ApiError::bad_request("a queue needs a name"));
    }
    let durable = sent.boolean("durable")?.unwrap_or(true);
    let auto_delete = sent.boolean("auto_delete")?.unwrap_or(false);
    let (arguments, vhost) = (arguments_in(sent)?, vhost.to_owned());
    let (what, passive, exclusive) = (format!("queue '{name}' in vhost '{vhost}'"), false, false);
    let declare = TopologyRequest::DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments };
    Ok(Some(declaring(what, vhost, declare)))
}

fn binding(sent: &Sent, vhost: &str) -> Result<Option<Step>, ApiError> {
    let (source, destination) =
        (sent.need_text("source")?.to_owned(), sent.need_text("destination")?.to_owned());
    if source.is_empty() {
        // Every queue has one from the default exchange, and no more.
        return Ok(None);
    }
    let routing_key = sent.text("routing_key")?.unwrap_or_default().to_owned();
    let (arguments, vhost) = (arguments_in(sent)?, vhost.to_owned());
    let what = format!("binding from '{source}' to '{destination}' in vhost '{vhost}'");
    let change = BindingChange::Bind;
    let bind = match sent.need_text("destination_type")? {
        "queue" => TopologyRequest::BindQueue {
            change,
            queue: destination,
            exchange: source,
            routing_key,
            arguments,
        },
        "exchange" => TopologyRequest::BindExchange { change, destination, source, routing_key, arguments },
        _ => return Err(ApiError::bad_request("destination_type has to be queue or exchange")),
    };
    Ok(Some(declaring(what, vhost, bind)))
}

fn declaring(what: String, vhost: String, request: TopologyRequest) -> Step {
    Step::new(what, move |stage| {
        let refused = |error: AmqpError| ApiError::bad_request(error.reply_text());
        stage.declare(&vhost, request.clone()).map_err(refused)
    })
}
