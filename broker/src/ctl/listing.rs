//! The commands that list what the broker holds, with the columns that were asked for.

use serde_json::Value;

use super::Session;
use super::columns::{BINDINGS, CHANNELS, CONNECTIONS, CONSUMERS, Column, EXCHANGES, QUEUES, VHOSTS};
use super::failure::{DATA, Failure, USAGE, no_vhost};
use super::path::{api_path, encoded};

/// `list_queues`.
pub(super) fn queues(session: &Session, wanted: &[String]) -> Result<(), Failure> {
    let columns = chosen(QUEUES, 2, wanted)?;
    session.out.banner(&session.api.allowed());
    session.out.banner(&format!("Listing queues for vhost {} ...", session.vhost));
    let mut fields: Vec<&str> = columns.iter().filter_map(Column::field).collect();
    fields.dedup();
    // Thousands of queues have a great deal to say that nobody asked for.
    let query = format!("?columns={}", encoded(&fields.join(",")));
    let found = session.api.get_path(&(api_path(&["queues", &session.vhost]) + &query));
    show(session, &columns, &in_vhost(session, found)?);
    Ok(())
}

/// `list_exchanges`.
pub(super) fn exchanges(session: &Session, wanted: &[String]) -> Result<(), Failure> {
    let columns = chosen(EXCHANGES, 2, wanted)?;
    session.out.banner(&format!("Listing exchanges for vhost {} ...", session.vhost));
    let found = session.api.get(&["exchanges", &session.vhost]);
    show(session, &columns, &in_vhost(session, found)?);
    Ok(())
}

/// `list_bindings`.
pub(super) fn bindings(session: &Session, wanted: &[String]) -> Result<(), Failure> {
    let columns = chosen(BINDINGS, 6, wanted)?;
    session.out.banner(&format!("Listing bindings for vhost {}...", session.vhost));
    let found = session.api.get(&["bindings", &session.vhost]);
    show(session, &columns, &in_vhost(session, found)?);
    Ok(())
}

/// `list_connections`.
pub(super) fn connections(session: &Session, wanted: &[String]) -> Result<(), Failure> {
    let columns = chosen(CONNECTIONS, 4, wanted)?;
    session.out.banner("Listing connections ...");
    show(session, &columns, &session.api.get(&["connections"])?);
    Ok(())
}

/// `list_channels`.
pub(super) fn channels(session: &Session, wanted: &[String]) -> Result<(), Failure> {
    let columns = chosen(CHANNELS, 4, wanted)?;
    session.out.banner("Listing channels ...");
    show(session, &columns, &session.api.get(&["channels"])?);
    Ok(())
}

/// `list_consumers`.
pub(super) fn consumers(session: &Session, wanted: &[String]) -> Result<(), Failure> {
    let columns = chosen(CONSUMERS, 7, wanted)?;
    session.out.banner(&format!("Listing consumers in vhost {} ...", session.vhost));
    let found = session.api.get(&["consumers", &session.vhost]);
    show(session, &columns, &in_vhost(session, found)?);
    Ok(())
}

/// `list_vhosts`.
pub(super) fn vhosts(session: &Session, wanted: &[String]) -> Result<(), Failure> {
    let columns = chosen(VHOSTS, 1, wanted)?;
    session.out.banner("Listing vhosts ...");
    show(session, &columns, &session.api.get(&["vhosts"])?);
    Ok(())
}

/// The columns of these names; without any the first `default` of all.
fn chosen(all: &[Column], default: usize, wanted: &[String]) -> Result<Vec<Column>, Failure> {
    if wanted.is_empty() {
        return Ok(all.iter().take(default).copied().collect());
    }
    // Also separated by commas, as rabbitmqctl takes them.
    let names =
        || wanted.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let find = |name: &str| all.iter().find(|column| column.name == name).copied();
    let unknown: Vec<&str> = names().filter(|name| find(name).is_none()).collect();
    if unknown.is_empty() {
        return Ok(names().filter_map(find).collect());
    }
    let known: Vec<&str> = all.iter().map(|column| column.name).collect();
    let text = format!("Info key(s) {} are not supported; there are {}", unknown.join(","), known.join(", "));
    Err(Failure::new(USAGE, text))
}

/// Says that the virtual host is what is missing, if it is.
fn in_vhost(session: &Session, found: Result<Value, Failure>) -> Result<Value, Failure> {
    let name = &session.vhost;
    match found {
        Err(failure) if failure.is_not_found() && !session.api.exists(&["vhosts", name])? => {
            Err(no_vhost(DATA, name))
        }
        other => other,
    }
}

fn show(session: &Session, columns: &[Column], found: &Value) {
    let row = |entry: &Value| columns.iter().map(|column| column.of(entry)).collect();
    let rows: Vec<Vec<Value>> = found.as_array().into_iter().flatten().map(row).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    session.out.rows(&names, &rows);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_columns_that_nobody_chose_are_those_of_rabbitmqctl() {
        let table: [(&[Column], usize, &str); 3] = [
            (QUEUES, 2, "name messages"),
            (CONNECTIONS, 4, "user peer_host peer_port state"),
            (
                CONSUMERS,
                7,
                "queue_name channel_pid consumer_tag ack_required prefetch_count active arguments",
            ),
        ];
        for (all, count, expected) in table {
            let names: Vec<&str> =
                chosen(all, count, &[]).unwrap().iter().map(|column| column.name).collect();
            assert_eq!(names.join(" "), expected);
        }
    }

    #[test]
    fn columns_are_shown_in_the_order_they_were_asked_for_and_unknown_ones_are_named() {
        let wanted = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let columns = chosen(CONSUMERS, 7, &wanted(&["active,queue_name", "channel_pid"])).unwrap();
        let entry = json!({"queue": {"name": "q"}, "active": true});
        let values: Vec<Value> = columns.iter().map(|column| column.of(&entry)).collect();
        assert_eq!(values, [json!(true), json!("q"), json!(null)]);
        let failure = chosen(QUEUES, 2, &wanted(&["name", "nonsense"])).unwrap_err();
        assert_eq!(failure.code, USAGE);
        assert!(failure.text.starts_with("Info key(s) nonsense are not supported"), "{failure}");
    }
}
