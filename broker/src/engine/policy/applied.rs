//! [`AppliedPolicies`]: the policies of one object, and what they come to together.

use std::sync::Arc;

use serde_json::Value;

use super::{Policy, PolicyDefinition};

/// The one policy and the one operator policy that apply to a queue or exchange.
#[derive(Debug, Clone, Default)]
pub struct AppliedPolicies {
    /// The policy.
    pub policy: Option<Arc<Policy>>,
    /// The operator policy.
    pub operator_policy: Option<Arc<Policy>>,
}

impl AppliedPolicies {
    /// Whether none applies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policy.is_none() && self.operator_policy.is_none()
    }

    /// The name of the policy.
    #[must_use]
    pub fn policy_name(&self) -> Option<&str> {
        self.policy.as_deref().map(Policy::name)
    }

    /// The name of the operator policy.
    #[must_use]
    pub fn operator_policy_name(&self) -> Option<&str> {
        self.operator_policy.as_deref().map(Policy::name)
    }

    /// What both say together, as listings show it: each setting of either, and of two limits the stricter one. None if neither
    /// applies.
    #[must_use]
    pub fn effective_definition(&self) -> Option<PolicyDefinition> {
        if self.is_empty() {
            return None;
        }
        let keys = self.both().flat_map(|policy| policy.definition().keys());
        Some(keys.filter_map(|key| Some((key.clone(), self.value(key)?.clone()))).collect())
    }

    /// One setting of the effective definition.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        let user = self.policy.as_ref().and_then(|policy| policy.definition().get(key));
        let operator = self.operator_policy.as_ref().and_then(|policy| policy.definition().get(key));
        match (user, operator) {
            (Some(user), Some(operator)) => Some(stricter(key, user, operator)),
            (user, operator) => user.or(operator),
        }
    }

    /// A setting that is a text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.as_str()
    }

    /// A setting that is an integer; larger than 64 bits is as good as the largest.
    pub(super) fn number(&self, key: &str) -> Option<i64> {
        number(self.value(key)?)
    }

    /// Where messages go that an exchange cannot route, unless its arguments say otherwise.
    #[must_use]
    pub fn alternate_exchange(&self) -> Option<&str> {
        self.text("alternate-exchange")
    }

    /// Whether these are the same policies as before, none of them set anew.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<Arc<Policy>>, other: &Option<Arc<Policy>>| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same(&self.policy, &other.policy) && same(&self.operator_policy, &other.operator_policy)
    }

    fn both(&self) -> impl Iterator<Item = &Policy> {
        self.policy.iter().chain(&self.operator_policy).map(|policy| &**policy)
    }
}

/// All that operator policies can say are limits.
fn stricter<'a>(key: &str, user: &'a Value, operator: &'a Value) -> &'a Value {
    let (Some(asked), Some(cap)) = (number(user), number(operator)) else { return operator };
    let result = if key == DELIVERY_LIMIT { stricter_delivery_limit(asked, cap) } else { asked.min(cap) };
    if result == asked { user } else { operator }
}

pub(super) const DELIVERY_LIMIT: &str = "delivery-limit";

/// A negative limit is none, and so the weaker one.
pub(super) fn stricter_delivery_limit(one: i64, other: i64) -> i64 {
    if one < 0 || other < 0 { one.max(other) } else { one.min(other) }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX))
}
