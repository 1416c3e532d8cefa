//! `/api/parameters` and `/api/global-parameters`: values that are kept with a broker. Policymakers may look at all
//! and change those of virtual hosts that the broker does not itself go by; the others are for administrators.
//!
//! RabbitMQ has a component for each feature that keeps parameters, and refuses others. Here those are operators' policies and limits of
//! virtual hosts; what definitions brought of other features is kept, shown and exported, and can be deleted.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::acting::visible_vhosts;
use super::{limits, policies};
use crate::access::{Parameter, VHostLimits};
use crate::engine::policy::{PolicyDeclare, PolicyKind};
use crate::http::Api;
use crate::http::body::Sent;
use crate::http::caller::{Administrator, Caller};
use crate::http::error::ApiError;
use crate::http::listing::Listing;
use crate::http::reply::{Done, Put};
use crate::server::admin::{Admin, Stage};

/// The components that the broker itself goes by.
const OPERATOR_POLICY: &str = "operator_policy";
const VHOST_LIMITS: &str = "vhost-limits";

pub(in crate::http) fn routes() -> Router<Api> {
    Router::new()
        .route("/parameters", get(list))
        .route("/parameters/{component}", get(list_component))
        .route("/parameters/{component}/{vhost}", get(list_in_vhost))
        .route("/parameters/{component}/{vhost}/{name}", get(one).put(put).delete(delete))
        .route("/global-parameters", get(list_global))
        .route("/global-parameters/{name}", get(one_global).put(put_global).delete(delete_global))
}

/// All parameters of the virtual hosts that are wanted.
pub(in crate::http) fn all(admin: &Admin, wanted: impl Fn(&str) -> bool) -> Vec<Parameter> {
    let parameter = |component: &str, name: &str, vhost: &str, value: Value| {
        let (vhost, component, name) = (vhost.to_owned(), component.to_owned(), name.to_owned());
        Parameter { vhost, component, name, value }
    };
    let operator = admin.policies(PolicyKind::Operator).into_iter().map(|policy| {
        let mut value = policies::json_of(&policy);
        if let Value::Object(fields) = &mut value {
            fields.retain(|name, _| name != "name" && name != "vhost");
        }
        parameter(OPERATOR_POLICY, policy.name(), policy.vhost(), value)
    });
    let limited = admin.vhosts().into_iter().filter_map(|(name, settings)| {
        let limits = limits::of_vhost(&settings.limits);
        (!limits.is_empty()).then(|| parameter(VHOST_LIMITS, "limits", &name, limits.into()))
    });
    let all = operator.chain(limited).chain(admin.parameters());
    all.filter(|parameter| wanted(&parameter.vhost)).collect()
}

/// A parameter in JSON.
pub(in crate::http) fn json_of(parameter: &Parameter) -> Value {
    let Parameter { vhost, component, name, value } = parameter;
    json!({"vhost": vhost, "component": component, "name": name, "value": value})
}

/// A global parameter in JSON.
pub(in crate::http) fn global_json_of((name, value): &(String, Value)) -> Value {
    json!({"name": name, "value": value})
}

/// What a parameter's value says, by its component.
#[derive(Debug)]
pub(in crate::http) enum Meaning {
    Policy(PolicyDeclare),
    Limits(VHostLimits),
    /// It is kept for others.
    None(Value),
}

impl Meaning {
    /// Reads a value.
    pub(in crate::http) fn of(component: &str, value: &Value) -> Result<Self, ApiError> {
        match component {
            OPERATOR_POLICY => Ok(Self::Policy(policies::declare_in(&Sent::from(object(value)?))?)),
            VHOST_LIMITS => {
                let mut changed = VHostLimits::default();
                for (limit, value) in &object(value)? {
                    limits::change_vhost(&mut changed, limit, value)?;
                }
                Ok(Self::Limits(changed))
            }
            // RabbitMQ's text.
            "policy" => Err(ApiError::bad_request("policies may not be set using this method")),
            _ => Ok(Self::None(value.clone())),
        }
    }

    /// Makes it so.
    pub(in crate::http) fn apply(
        &self,
        stage: &mut dyn Stage,
        vhost: &str,
        component: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        match self {
            Self::Policy(declare) => {
                Ok(stage.set_policy(PolicyKind::Operator, vhost, name, declare.clone())?)
            }
            Self::Limits(limits) => Ok(stage.set_vhost_limits(vhost, *limits)?),
            Self::None(value) => {
                let (vhost, component, name) = (vhost.to_owned(), component.to_owned(), name.to_owned());
                Ok(stage.set_parameter(Parameter { vhost, component, name, value: value.clone() })?)
            }
        }
    }
}

fn object(value: &Value) -> Result<Map<String, Value>, ApiError> {
    value.as_object().cloned().ok_or_else(|| ApiError::bad_request("value has to be an object"))
}

/// The parameters that a caller may look at, of all components or one.
fn seen(caller: &Caller, admin: &Admin, component: Option<&str>) -> Result<Vec<Value>, ApiError> {
    caller.looks_as_policymaker()?;
    let vhosts = visible_vhosts(caller, admin);
    let all = all(admin, |vhost| vhosts.iter().any(|seen| seen == vhost));
    let wanted = all.iter().filter(|parameter| component.is_none_or(|wanted| parameter.component == wanted));
    Ok(wanted.map(json_of).collect())
}

/// The same in one virtual host.
fn seen_in(caller: &Caller, admin: &Admin, component: &str, vhost: &str) -> Result<Vec<Value>, ApiError> {
    admin.vhost(vhost).ok_or_else(ApiError::not_found)?;
    policies::permit(admin, caller, PolicyKind::User, vhost)?;
    let all = all(admin, |of| of == vhost);
    Ok(all.iter().filter(|parameter| parameter.component == component).map(json_of).collect())
}

/// Lets policymakers pass in virtual hosts where they have permissions, as RabbitMQ does; but what the broker itself goes by, limits and
/// operators' policies, is for administrators. RabbitMQ lets policymakers change by this way what it does not let them change by
/// the routes of their own.
fn permit_change(caller: &Caller, admin: &Admin, component: &str, vhost: &str) -> Result<(), ApiError> {
    admin.vhost(vhost).ok_or_else(|| ApiError::missing("vhost_not_found"))?;
    let kind = match component {
        OPERATOR_POLICY | VHOST_LIMITS => PolicyKind::Operator,
        _ => PolicyKind::User,
    };
    policies::permit(admin, caller, kind, vhost)
}

const SORTED_BY: [&str; 3] = ["vhost", "component", "name"];

async fn list(caller: Caller, State(api): State<Api>, listing: Listing) -> Result<Response, ApiError> {
    api.work(move |admin| listing.answer(&SORTED_BY, seen(&caller, admin, None)?)).await
}

async fn list_component(
    caller: Caller,
    State(api): State<Api>,
    Path(component): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| listing.answer(&SORTED_BY, seen(&caller, admin, Some(&component))?)).await
}

async fn list_in_vhost(
    caller: Caller,
    State(api): State<Api>,
    Path((component, vhost)): Path<(String, String)>,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| listing.answer(&SORTED_BY, seen_in(&caller, admin, &component, &vhost)?)).await
}

type Named = Path<(String, String, String)>;

async fn one(
    caller: Caller,
    State(api): State<Api>,
    Path((component, vhost, name)): Named,
    listing: Listing,
) -> Result<Response, ApiError> {
    api.work(move |admin| {
        let seen = seen_in(&caller, admin, &component, &vhost)?;
        let found = seen.into_iter().find(|parameter| parameter["name"] == *name);
        Ok(listing.one(found.ok_or_else(ApiError::not_found)?))
    })
    .await
}

fn exists(admin: &Admin, component: &str, vhost: &str, name: &str) -> bool {
    let all = all(admin, |of| of == vhost);
    all.iter().any(|parameter| parameter.component == component && parameter.name == name)
}

async fn put(
    caller: Caller,
    State(api): State<Api>,
    Path((component, vhost, name)): Named,
    sent: Sent,
) -> Result<Put, ApiError> {
    permit_change(&caller, &api.admin, &component, &vhost)?;
    let value = sent.need_any("value")?.clone();
    api.work(move |admin| {
        let existed = exists(admin, &component, &vhost, &name);
        let meaning = Meaning::of(&component, &value)?;
        if matches!(meaning, Meaning::None(_)) && !existed {
            // RabbitMQ's text.
            let reason = format!("Validation failed\n\ncomponent {component} not found\n");
            return Err(ApiError::bad_request(reason));
        }
        meaning.apply(&mut admin.clone(), &vhost, &component, &name)?;
        Ok(Put::over(existed))
    })
    .await
}

async fn delete(
    caller: Caller,
    State(api): State<Api>,
    Path((component, vhost, name)): Named,
) -> Result<Done, ApiError> {
    permit_change(&caller, &api.admin, &component, &vhost)?;
    api.work(move |admin| {
        if !exists(admin, &component, &vhost, &name) {
            return Err(ApiError::not_found());
        }
        match component.as_str() {
            OPERATOR_POLICY => admin.delete_policy(PolicyKind::Operator, &vhost, &name)?,
            VHOST_LIMITS => admin.set_vhost_limits(&vhost, VHostLimits::default())?,
            _ => drop(admin.clear_parameter(&vhost, &component, &name)),
        }
        Ok(Done)
    })
    .await
}

async fn list_global(caller: Caller, State(api): State<Api>, listing: Listing) -> Result<Response, ApiError> {
    caller.looks_as_policymaker()?;
    api.work(move |admin| {
        listing.answer(&["name"], admin.global_parameters().iter().map(global_json_of).collect())
    })
    .await
}

async fn one_global(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    listing: Listing,
) -> Result<Response, ApiError> {
    caller.looks_as_policymaker()?;
    let value = api.admin.global_parameter(&name).ok_or_else(ApiError::not_found)?;
    Ok(listing.one(global_json_of(&(name, value))))
}

async fn put_global(
    _: Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
    sent: Sent,
) -> Result<Put, ApiError> {
    let value = sent.need_any("value")?.clone();
    api.work(move |admin| {
        let existed = admin.global_parameter(&name).is_some();
        admin.set_global_parameter(&name, value)?;
        Ok(Put::over(existed))
    })
    .await
}

async fn delete_global(
    _: Administrator,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Done, ApiError> {
    api.work(move |admin| match admin.clear_global_parameter(&name) {
        true => Ok(Done),
        false => Err(ApiError::not_found()),
    })
    .await
}
