//! [`Operation`]: one method of one path, as the description tells it.

use axum::http::StatusCode;

/// Who a route is open to. The tests try each with every kind of user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, also who has not logged in.
    Anyone,
    /// Who has a tag that opens the API; of lists they see what they may.
    Caller,
    /// Monitors and administrators.
    Monitor,
    /// Administrators.
    Administrator,
    /// Who comes over the socket in the data folder; over the network there is no such route.
    Owner,
    /// Who may look at the virtual host: monitors, and who has permissions in it.
    Seen,
    /// Who has permissions in the virtual host.
    Entered,
    /// Policymakers; of lists they see what they may.
    AnyPolicymaker,
    /// Policymakers with permissions in the virtual host, and administrators.
    Policymaker,
    /// The user of the connection, and monitors.
    OwnOrMonitor,
    /// The user of the connection, and administrators.
    OwnOrAdministrator,
}

impl Access {
    /// The word for it in the description (`x-access`).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Caller => "any tag",
            Self::Monitor => "monitoring",
            Self::Administrator => "administrator",
            Self::Owner => "local socket",
            Self::Seen => "sees the vhost",
            Self::Entered => "permissions in the vhost",
            Self::AnyPolicymaker => "policymaker",
            Self::Policymaker => "policymaker with permissions in the vhost, or administrator",
            Self::OwnOrMonitor => "its user or monitoring",
            Self::OwnOrAdministrator => "its user or administrator",
        }
    }
}

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    /// The key in a path item.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

/// What is answered when it works. Names are those of schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Success {
    /// 200 and an object.
    One(&'static str),
    /// 200 and an array of these.
    List(&'static str),
    /// The same, or one page of it if there is a `page`.
    Pages(&'static str),
    /// 201 or 204, and no body.
    Put,
    /// 201 and where it is.
    Created,
    /// 200 and events until either side ends it.
    Stream,
    /// 204.
    Done,
}

/// One method of one path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    /// Below `/api`, with the names of the router.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) success: Success,
    /// The schema of the body.
    pub(super) body: Option<&'static str>,
    /// Parameters beyond those in the path and of lists, by their names among the components.
    pub(super) parameters: &'static [&'static str],
    /// Refusals that do not follow from the rest.
    pub(super) refusals: &'static [StatusCode],
}

const fn operation(verb: Verb, path: &'static str, success: Success, summary: &'static str) -> Operation {
    let access = Access::Administrator;
    Operation { verb, path, summary, access, success, body: None, parameters: &[], refusals: &[] }
}

/// Reads something. For administrators, as all others, unless [`Operation::by`] says otherwise.
pub(super) const fn get(path: &'static str, success: Success, summary: &'static str) -> Operation {
    operation(Verb::Get, path, success, summary)
}

/// Makes or changes something.
pub(super) const fn put(path: &'static str, summary: &'static str) -> Operation {
    operation(Verb::Put, path, Success::Put, summary)
}

/// Does something.
pub(super) const fn post(path: &'static str, success: Success, summary: &'static str) -> Operation {
    operation(Verb::Post, path, success, summary)
}

/// Removes something.
pub(super) const fn delete(path: &'static str, summary: &'static str) -> Operation {
    operation(Verb::Delete, path, Success::Done, summary)
}

impl Operation {
    /// Who it is open to.
    pub(super) const fn by(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The schema of the body.
    pub(super) const fn takes(self, schema: &'static str) -> Self {
        Self { body: Some(schema), ..self }
    }

    /// What it answers when it works, if that is unusual for its method.
    pub(super) const fn answers(self, success: Success) -> Self {
        Self { success, ..self }
    }

    /// Parameters of its own.
    pub(super) const fn with(self, parameters: &'static [&'static str]) -> Self {
        Self { parameters, ..self }
    }

    /// Refusals of its own.
    pub(super) const fn refuses(self, refusals: &'static [StatusCode]) -> Self {
        Self { refusals, ..self }
    }

    /// The names in braces in the path.
    pub(super) fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// All statuses of refusals.
    pub(super) fn refused(&self) -> Vec<StatusCode> {
        let mut refused = vec![StatusCode::BAD_REQUEST];
        if self.access != Access::Anyone {
            refused.push(StatusCode::UNAUTHORIZED);
        }
        if self.verb != Verb::Get {
            refused.push(StatusCode::FORBIDDEN);
        }
        if self.path.contains('{') || self.access == Access::Owner {
            refused.push(StatusCode::NOT_FOUND);
        }
        if self.body.is_some() {
            refused.extend([StatusCode::REQUEST_TIMEOUT, StatusCode::PAYLOAD_TOO_LARGE]);
        }
        refused.extend(self.refusals);
        refused
    }
}
