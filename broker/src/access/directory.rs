//! [`Directory`]: all users, virtual hosts and permissions, and what of them is to be written.
//!
//! Every change bumps the generation and leaves a [`Change`] for the store. What is handed out is shared and never changes: a
//! connection keeps its [`Rights`] until the generation says that there may be others.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::password::PasswordHash;
use super::record::{self, Change, Record};
use super::user::check_name;
use super::{
    AccessError, Grant, Permissions, Tags, TopicPermissions, User, UserLimits, VHostLimits, VHostSettings,
};
use crate::limits::{TOPIC_PERMISSIONS_MAX, USERS_MAX, VHOSTS_MAX};

/// Everything about access.
#[derive(Debug, Default, Clone)]
pub struct Directory {
    users: BTreeMap<String, Arc<User>>,
    vhosts: BTreeMap<String, Arc<VHostSettings>>,
    /// By user, then by virtual host. None of them is empty.
    grants: BTreeMap<String, BTreeMap<String, Arc<Grant>>>,
    /// By virtual host, component and name.
    pub(super) parameters: BTreeMap<(String, String, String), Value>,
    pub(super) global_parameters: BTreeMap<String, Value>,
    changes: Vec<Change>,
    generation: u64,
}

/// What one user may do in one virtual host, at one moment.
#[derive(Debug, Clone)]
pub struct Rights {
    /// Who.
    pub user: Arc<User>,
    /// What; `None` for nothing at all.
    pub grant: Option<Arc<Grant>>,
}

impl Directory {
    /// What a broker starts with that knows nobody yet: the virtual host `/`, and one administrator with all permissions in it.
    ///
    /// # Errors
    ///
    /// If the user's name is none.
    pub fn with_default_user(name: &str, password: PasswordHash) -> Result<Self, AccessError> {
        let mut directory = Self::default();
        directory.add_vhost("/", VHostSettings::default())?;
        directory.add_user(User {
            name: name.to_owned(),
            password,
            tags: Tags::new(["administrator"]),
            limits: UserLimits::default(),
        })?;
        directory.set_permissions(name, "/", Permissions::all())?;
        Ok(directory)
    }

    /// What a store has kept, in any order. What belongs to a user or virtual host that is not there is left out and returned.
    pub fn restore(records: impl IntoIterator<Item = Record>) -> (Self, Vec<Record>) {
        let mut directory = Self::default();
        let mut others = Vec::new();
        for record in records {
            match record {
                Record::VHost(name, settings) => {
                    directory.vhosts.insert(name, Arc::new(settings));
                }
                Record::User(user) => {
                    directory.users.insert(user.name.clone(), Arc::new(user));
                }
                other => others.push(other),
            }
        }
        let mut orphans = Vec::new();
        for record in others {
            let restored = match record.clone() {
                Record::Permissions { vhost, user, permissions } => {
                    directory.set_permissions(&user, &vhost, permissions)
                }
                Record::TopicPermissions { vhost, user, exchange, permissions } => {
                    directory.set_topic_permissions(&user, &vhost, &exchange, permissions)
                }
                Record::Parameter(parameter) => directory.set_parameter(parameter),
                Record::GlobalParameter(name, value) => directory.set_global_parameter(&name, value),
                Record::VHost(..) | Record::User(_) => Ok(()),
            };
            if restored.is_err() {
                orphans.push(record);
            }
        }
        directory.changes.clear();
        (directory, orphans)
    }

    /// Changes with every change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What is to be written since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// A user by name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// A virtual host's settings by its name.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<&Arc<VHostSettings>> {
        self.vhosts.get(name)
    }

    /// All virtual hosts, by name.
    pub fn vhosts(&self) -> impl Iterator<Item = (&str, &Arc<VHostSettings>)> {
        self.vhosts.iter().map(|(name, settings)| (name.as_str(), settings))
    }

    /// What a user may do in a virtual host; `None` if there is no such user.
    #[must_use]
    pub fn rights(&self, user: &str, vhost: &str) -> Option<Rights> {
        let grant = self.grants.get(user).and_then(|grants| grants.get(vhost)).cloned();
        Some(Rights { user: self.users.get(user)?.clone(), grant })
    }

    /// All that is granted: user, virtual host, grant; by user, then by virtual host.
    pub fn grants(&self) -> impl Iterator<Item = (&str, &str, &Arc<Grant>)> {
        self.grants.iter().flat_map(|(user, grants)| {
            grants.iter().map(move |(vhost, grant)| (user.as_str(), vhost.as_str(), grant))
        })
    }

    /// Adds a user.
    ///
    /// # Errors
    ///
    /// If there is one of this name, the name is none, or there are too many.
    pub fn add_user(&mut self, user: User) -> Result<(), AccessError> {
        if self.users.contains_key(&user.name) {
            return Err(AccessError::UserExists(user.name));
        }
        self.put_user(user)
    }

    /// Adds a user, or replaces the one of this name. What it is permitted stays.
    ///
    /// # Errors
    ///
    /// If the name is none, or there are too many.
    pub fn put_user(&mut self, user: User) -> Result<(), AccessError> {
        check_name("user", &user.name)?;
        if self.users.len() >= USERS_MAX && !self.users.contains_key(&user.name) {
            return Err(AccessError::TooMany(USERS_MAX));
        }
        let record = Record::User(user);
        self.note(record.change());
        if let Record::User(user) = record {
            self.users.insert(user.name.clone(), Arc::new(user));
        }
        Ok(())
    }

    /// Changes something of a user.
    ///
    /// # Errors
    ///
    /// If there is no such user.
    fn update_user(&mut self, name: &str, update: impl FnOnce(&mut User)) -> Result<(), AccessError> {
        let mut user = User::clone(self.existing_user(name)?);
        update(&mut user);
        self.put_user(user)
    }

    fn existing_user(&self, name: &str) -> Result<&Arc<User>, AccessError> {
        self.users.get(name).ok_or_else(|| AccessError::NoSuchUser(name.to_owned()))
    }

    pub(super) fn existing_vhost(&self, name: &str) -> Result<&Arc<VHostSettings>, AccessError> {
        self.vhosts.get(name).ok_or_else(|| AccessError::NoSuchVHost(name.to_owned()))
    }

    /// Gives a user another password.
    ///
    /// # Errors
    ///
    /// If there is no such user.
    pub fn set_password(&mut self, name: &str, password: PasswordHash) -> Result<(), AccessError> {
        self.update_user(name, |user| user.password = password)
    }

    /// Gives a user other tags.
    ///
    /// # Errors
    ///
    /// If there is no such user.
    pub fn set_user_tags(&mut self, name: &str, tags: Tags) -> Result<(), AccessError> {
        self.update_user(name, |user| user.tags = tags)
    }

    /// Gives a user other limits.
    ///
    /// # Errors
    ///
    /// If there is no such user.
    pub fn set_user_limits(&mut self, name: &str, limits: UserLimits) -> Result<(), AccessError> {
        self.update_user(name, |user| user.limits = limits)
    }

    /// Deletes a user and all that it was permitted.
    ///
    /// # Errors
    ///
    /// If there is no such user.
    pub fn delete_user(&mut self, name: &str) -> Result<(), AccessError> {
        if self.users.remove(name).is_none() {
            return Err(AccessError::NoSuchUser(name.to_owned()));
        }
        for (vhost, grant) in self.grants.remove(name).unwrap_or_default() {
            self.note_no_grant(name, &vhost, &grant);
        }
        self.note_none(record::user_key(name));
        Ok(())
    }

    /// Adds a virtual host.
    ///
    /// # Errors
    ///
    /// If there is one of this name, the name is none, the settings are wrong, or there are too many.
    pub fn add_vhost(&mut self, name: &str, settings: VHostSettings) -> Result<(), AccessError> {
        check_name("virtual host", name)?;
        settings.check()?;
        if self.vhosts.contains_key(name) {
            return Err(AccessError::VHostExists(name.to_owned()));
        }
        if self.vhosts.len() >= VHOSTS_MAX {
            return Err(AccessError::TooMany(VHOSTS_MAX));
        }
        self.insert_vhost(name, settings);
        Ok(())
    }

    fn insert_vhost(&mut self, name: &str, settings: VHostSettings) {
        self.note(Record::VHost(name.to_owned(), settings.clone()).change());
        self.vhosts.insert(name.to_owned(), Arc::new(settings));
    }

    /// Gives a virtual host other settings.
    ///
    /// # Errors
    ///
    /// If there is no such virtual host, or the settings are wrong.
    pub fn set_vhost(&mut self, name: &str, settings: VHostSettings) -> Result<(), AccessError> {
        self.existing_vhost(name)?;
        settings.check()?;
        self.insert_vhost(name, settings);
        Ok(())
    }

    /// Gives a virtual host other limits.
    ///
    /// # Errors
    ///
    /// If there is no such virtual host.
    pub fn set_vhost_limits(&mut self, name: &str, limits: VHostLimits) -> Result<(), AccessError> {
        let settings = VHostSettings { limits, ..VHostSettings::clone(self.existing_vhost(name)?) };
        self.insert_vhost(name, settings);
        Ok(())
    }

    /// Deletes a virtual host and all that was permitted in it. Returns the change that removes the virtual host itself: to be
    /// written when all that is in it is deleted, so that what is left after a crash in between still has its virtual host.
    ///
    /// # Errors
    ///
    /// If there is no such virtual host, or it is protected.
    pub fn delete_vhost(&mut self, name: &str) -> Result<Change, AccessError> {
        if self.existing_vhost(name)?.protected_from_deletion {
            return Err(AccessError::Protected(name.to_owned()));
        }
        self.vhosts.remove(name);
        let users: Vec<String> = self.grants.keys().cloned().collect();
        for user in users {
            self.set_grant(&user, name, None);
        }
        self.clear_parameters_of(name);
        self.generation += 1;
        Ok(Change { key: record::vhost_key(name), value: None })
    }

    /// Sets what a user may do in a virtual host.
    ///
    /// # Errors
    ///
    /// If there is no such user or virtual host.
    pub fn set_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        permissions: Permissions,
    ) -> Result<(), AccessError> {
        let mut grant = self.grant_to_change(user, vhost)?;
        let (user_name, vhost_name) = (user.to_owned(), vhost.to_owned());
        let record =
            Record::Permissions { vhost: vhost_name, user: user_name, permissions: permissions.clone() };
        self.note(record.change());
        grant.permissions = Some(permissions);
        self.set_grant(user, vhost, Some(grant));
        Ok(())
    }

    /// Takes a user's permissions in a virtual host away. Topic permissions stay, and open nothing by themselves.
    ///
    /// # Errors
    ///
    /// If there is no such user or virtual host.
    pub fn clear_permissions(&mut self, user: &str, vhost: &str) -> Result<(), AccessError> {
        let mut grant = self.grant_to_change(user, vhost)?;
        if grant.permissions.take().is_some() {
            self.note_none(record::permissions_key(vhost, user));
            self.set_grant(user, vhost, Some(grant));
        }
        Ok(())
    }

    /// Sets which routing keys of a topic exchange a user may use. The exchange need not exist.
    ///
    /// # Errors
    ///
    /// If there is no such user or virtual host, or there are too many for this user and virtual host.
    pub fn set_topic_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permissions: TopicPermissions,
    ) -> Result<(), AccessError> {
        let mut grant = self.grant_to_change(user, vhost)?;
        if grant.topics.len() >= TOPIC_PERMISSIONS_MAX && !grant.topics.contains_key(exchange) {
            return Err(AccessError::TooMany(TOPIC_PERMISSIONS_MAX));
        }
        let record = Record::TopicPermissions {
            vhost: vhost.to_owned(),
            user: user.to_owned(),
            exchange: exchange.to_owned(),
            permissions: permissions.clone(),
        };
        self.note(record.change());
        grant.topics.insert(exchange.to_owned(), permissions);
        self.set_grant(user, vhost, Some(grant));
        Ok(())
    }

    /// Takes a user's topic permissions in a virtual host away: for one exchange, or for all.
    ///
    /// # Errors
    ///
    /// If there is no such user or virtual host.
    pub fn clear_topic_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<(), AccessError> {
        let mut grant = self.grant_to_change(user, vhost)?;
        let gone: Vec<String> = match exchange {
            Some(exchange) => grant.topics.remove_entry(exchange).into_iter().map(|(name, _)| name).collect(),
            None => std::mem::take(&mut grant.topics).into_keys().collect(),
        };
        for exchange in &gone {
            self.note_none(record::topic_key(vhost, user, exchange));
        }
        self.set_grant(user, vhost, Some(grant));
        Ok(())
    }

    fn grant_to_change(&self, user: &str, vhost: &str) -> Result<Grant, AccessError> {
        self.existing_user(user)?;
        self.existing_vhost(vhost)?;
        let grant = self.grants.get(user).and_then(|grants| grants.get(vhost));
        Ok(grant.map(|grant| Grant::clone(grant)).unwrap_or_default())
    }

    /// Puts a grant in its place; with none, what was there is noted as gone.
    fn set_grant(&mut self, user: &str, vhost: &str, grant: Option<Grant>) {
        self.generation += 1;
        let grants = self.grants.entry(user.to_owned()).or_default();
        let removed = match grant {
            Some(grant) if !grant.is_empty() => {
                grants.insert(vhost.to_owned(), Arc::new(grant));
                None
            }
            Some(_) => {
                grants.remove(vhost);
                None
            }
            None => grants.remove(vhost),
        };
        if grants.is_empty() {
            self.grants.remove(user);
        }
        if let Some(removed) = removed {
            self.note_no_grant(user, vhost, &removed);
        }
    }

    fn note_no_grant(&mut self, user: &str, vhost: &str, grant: &Grant) {
        if grant.permissions.is_some() {
            self.note_none(record::permissions_key(vhost, user));
        }
        for exchange in grant.topics.keys() {
            self.note_none(record::topic_key(vhost, user, exchange));
        }
    }

    pub(super) fn note(&mut self, change: Change) {
        self.generation += 1;
        self.changes.push(change);
    }

    pub(super) fn note_none(&mut self, key: Vec<u8>) {
        self.note(Change { key, value: None });
    }
}
