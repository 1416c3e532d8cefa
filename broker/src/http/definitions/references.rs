//! What definitions name has to be there, or to come with them: looked at before anything is done, so that a file that does not fit
//! changes nothing.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::http::error::ApiError;
use crate::server::admin::Admin;

/// What an import can refer to besides what the broker has.
struct Coming<'a> {
    admin: &'a Admin,
    vhosts: HashSet<&'a str>,
    users: HashSet<&'a str>,
    /// By virtual host and name.
    exchanges: HashSet<(&'a str, &'a str)>,
    queues: HashSet<(&'a str, &'a str)>,
}

/// Checks definitions, of the virtual host `only` if they are those of one. What is malformed is passed over here.
///
/// # Errors
///
/// The first entry that names something which is missing.
pub(super) fn check(admin: &Admin, only: Option<&str>, fields: &Map<String, Value>) -> Result<(), ApiError> {
    let names = |section| entries(fields, section).filter_map(|(_, entry)| text(entry, "name")).collect();
    let in_vhosts = |section| {
        let named = entries(fields, section)
            .filter_map(|(_, entry)| Some((only.or_else(|| text(entry, "vhost"))?, text(entry, "name")?)));
        named.collect()
    };
    let coming = Coming {
        admin,
        vhosts: if only.is_none() { names("vhosts") } else { HashSet::new() },
        users: if only.is_none() { names("users") } else { HashSet::new() },
        exchanges: in_vhosts("exchanges"),
        queues: in_vhosts("queues"),
    };
    for section in
        ["permissions", "topic_permissions", "parameters", "policies", "exchanges", "queues", "bindings"]
    {
        for (at, entry) in entries(fields, section) {
            let missing = match only.or_else(|| text(entry, "vhost")) {
                Some(vhost) => coming.missing(section, vhost, entry),
                None => None,
            };
            if let Some(missing) = missing {
                let reason = format!("{section}[{at}]: there is no {missing}, here or in the definitions");
                return Err(ApiError::bad_request(reason));
            }
        }
    }
    Ok(())
}

impl Coming<'_> {
    /// What an entry names and nobody has.
    fn missing(&self, section: &str, vhost: &str, entry: &Value) -> Option<String> {
        if !self.vhosts.contains(vhost) && self.admin.vhost(vhost).is_none() {
            return Some(format!("vhost '{vhost}'"));
        }
        match section {
            "permissions" | "topic_permissions" => {
                let user = text(entry, "user")?;
                let is_there = self.users.contains(user) || self.admin.user(user).is_some();
                (!is_there).then(|| format!("user '{user}'"))
            }
            "bindings" => {
                let (source, destination) = (text(entry, "source")?, text(entry, "destination")?);
                let to_queue = text(entry, "destination_type") == Some("queue");
                match (self.has_exchange(vhost, source), to_queue) {
                    (false, _) => Some(format!("exchange '{source}' in vhost '{vhost}'")),
                    (true, true) => (!self.has_queue(vhost, destination))
                        .then(|| format!("queue '{destination}' in vhost '{vhost}'")),
                    (true, false) => (!self.has_exchange(vhost, destination))
                        .then(|| format!("exchange '{destination}' in vhost '{vhost}'")),
                }
            }
            _ => None,
        }
    }

    /// Those that every virtual host has are there in a new one, too.
    fn has_exchange(&self, vhost: &str, name: &str) -> bool {
        let is_predeclared = name.is_empty() || name.starts_with("amq.");
        is_predeclared || self.exchanges.contains(&(vhost, name)) || self.admin.has_exchange(vhost, name)
    }

    fn has_queue(&self, vhost: &str, name: &str) -> bool {
        self.queues.contains(&(vhost, name)) || self.admin.has_queue(vhost, name)
    }
}

fn entries<'a>(fields: &'a Map<String, Value>, section: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    fields.get(section).and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn text<'a>(entry: &'a Value, name: &str) -> Option<&'a str> {
    entry.get(name)?.as_str()
}
