//! [`Listing`]: what of a list is answered, in which order and how many at a time, by the parameters that RabbitMQ has for it.
//!
//! `sort`, `sort_reverse` and `columns` work for every list; `columns` for single objects, too. `page`, `page_size`, `name` and
//! `use_regex` work for the lists that can be long, and then only if there is a `page`.

use std::cmp::Ordering;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Number, Value};

use super::Api;
use super::error::ApiError;
use super::fields::{self, Column, Fields, Row};
use crate::access::Pattern;

/// Entries of a page, if the request does not say; RabbitMQ's.
const PAGE_SIZE: usize = 100;

/// The most entries of a page; RabbitMQ's.
const PAGE_SIZE_MAX: usize = 500;

/// Columns that are looked for; more are not.
const COLUMNS_MAX: usize = 200;

/// What a request wants to see of a list.
#[derive(Debug, Default)]
pub(super) struct Listing {
    sort: Option<Column>,
    reversed: bool,
    columns: Vec<Column>,
    page: Option<Result<Page, ApiError>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Page {
    number: usize,
    size: usize,
    name: Option<Pattern>,
}

impl FromRequestParts<Api> for Listing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, api).await;
        let Query(pairs) = query.map_err(|_| ApiError::bad_request("the query cannot be read"))?;
        Ok(Self::new(&pairs))
    }
}

impl Listing {
    /// From the parameters of a request.
    pub(super) fn new(pairs: &[(String, String)]) -> Self {
        let param = |name: &str| {
            let pair = pairs.iter().find(|(key, _)| key == name);
            pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let columns = param("columns").into_iter().flat_map(|text| text.split(','));
        Self {
            sort: param("sort").map(column),
            reversed: param("sort_reverse") == Some("true"),
            columns: columns.take(COLUMNS_MAX).map(column).collect(),
            page: param("page").map(|page| {
                Page::new(page, param("page_size"), param("name"), param("use_regex") == Some("true"))
            }),
        }
    }

    /// The whole list, by the column of the request, then by those that are usual for it.
    pub(super) fn answer<R: Row>(&self, sorted_by: &[&str], rows: Vec<R>) -> Result<Response, ApiError> {
        let rows = self.sort(sorted_by, rows);
        let mut text = Vec::new();
        self.write(&mut text, &rows);
        Ok(json(text))
    }

    /// The same, or the page that the request asks for.
    pub(super) fn answer_paged<R: Row>(
        &self,
        sorted_by: &[&str],
        mut rows: Vec<R>,
    ) -> Result<Response, ApiError> {
        let Some(page) = &self.page else { return self.answer(sorted_by, rows) };
        let page = page.as_ref().map_err(Clone::clone)?;
        let total = rows.len();
        if let Some(pattern) = &page.name {
            rows.retain(|row| has_name(row, pattern));
        }
        let filtered = rows.len();
        let first = page.size.saturating_mul(page.number - 1);
        if first >= filtered && page.number > 1 {
            return Err(ApiError::page_out_of_range(page.number, page.size, filtered));
        }
        let mut rows = self.sort(sorted_by, rows);
        rows.truncate(first.saturating_add(page.size));
        let rows = &rows[first.min(rows.len())..];
        let mut text = b"{\"items\":".to_vec();
        self.write(&mut text, rows);
        let numbers = [
            ("filtered_count", filtered),
            ("item_count", rows.len()),
            ("page", page.number),
            ("page_count", filtered.div_ceil(page.size)),
            ("page_size", page.size),
            ("total_count", total),
        ];
        text.extend(numbers.iter().flat_map(|(name, number)| format!(",\"{name}\":{number}").into_bytes()));
        text.push(b'}');
        Ok(json(text))
    }

    /// One object, with the columns that the request asks for.
    pub(super) fn one(&self, row: impl Row) -> Response {
        self.one_with(|out| row.fields(out))
    }

    /// The same, of fields that are told here.
    pub(super) fn one_with(&self, fields: impl FnOnce(&mut Fields<'_>)) -> Response {
        let mut text = Vec::new();
        fields::write(&mut text, &self.columns, fields);
        json(text)
    }

    fn sort<R: Row>(&self, sorted_by: &[&str], rows: Vec<R>) -> Vec<R> {
        let mut columns: Vec<Column> = sorted_by.iter().map(|name| column(name)).collect();
        columns.splice(0..0, self.sort.clone());
        let keys = |row: &R| -> Vec<Option<Value>> {
            columns.iter().map(|column| fields::value_of(row, column)).collect()
        };
        let mut keyed: Vec<(Vec<Option<Value>>, R)> = rows.into_iter().map(|row| (keys(&row), row)).collect();
        keyed.sort_by(|(one, _), (other, _)| {
            let each = one.iter().zip(other).map(|(one, other)| order(one.as_ref(), other.as_ref()));
            each.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        if self.reversed {
            keyed.reverse();
        }
        keyed.into_iter().map(|(_, row)| row).collect()
    }

    fn write(&self, text: &mut Vec<u8>, rows: &[impl Row]) {
        text.push(b'[');
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            fields::write(text, &self.columns, |out| row.fields(out));
        }
        text.push(b']');
    }
}

/// An answer whose JSON is written already.
fn json(text: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

impl Page {
    fn new(
        page: &str,
        page_size: Option<&str>,
        name: Option<&str>,
        is_regex: bool,
    ) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request("Pagination parameters are invalid");
        let number: usize = page.parse().map_err(|_| invalid())?;
        let size = page_size.map(str::parse::<usize>).transpose().map_err(|_| invalid())?;
        if number == 0 || size.is_some_and(|size| !(1..=PAGE_SIZE_MAX).contains(&size)) {
            let size = size.map_or("undefined".to_owned(), |size| size.to_string());
            return Err(ApiError::invalid_page(number, &size));
        }
        let pattern = name.map(|name| match is_regex {
            true => format!("(?i){name}"),
            false => format!("(?i){}", fancy_regex::escape(name)),
        });
        let name = pattern.map(|pattern| Pattern::new(&pattern)).transpose().map_err(|_| invalid())?;
        Ok(Self { number, size: size.unwrap_or(PAGE_SIZE), name })
    }
}

fn has_name(row: &impl Row, pattern: &Pattern) -> bool {
    let name = fields::value_of(row, &column("name"));
    name.as_ref().and_then(Value::as_str).is_some_and(|name| pattern.matches(name))
}

fn column(text: &str) -> Column {
    text.split('.').map(str::to_owned).collect()
}

/// Erlang's order of terms, in which RabbitMQ sorts: numbers, words, objects, arrays, texts. What is not there counts as 0.
fn order(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    let zero = Value::Number(Number::from(0));
    let (one, other) = (one.unwrap_or(&zero), other.unwrap_or(&zero));
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap_or(0.0), other.as_f64().unwrap_or(0.0));
            one.total_cmp(&other)
        }
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        _ => rank(one).cmp(&rank(other)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::Bool(_) | Value::Null => 1,
        Value::Object(_) => 2,
        Value::Array(_) => 3,
        Value::String(_) => 4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listing(query: &[(&str, &str)]) -> Listing {
        let pairs: Vec<(String, String)> =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Listing::new(&pairs)
    }

    async fn listed(query: &[(&str, &str)], items: Value) -> Value {
        let Value::Array(items) = items else { panic!("a list") };
        let response = match listing(query).answer_paged(&["name"], items) {
            Ok(response) => response,
            Err(error) => error.into_response(),
        };
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn three() -> Value {
        json!([{"name": "b", "n": 2}, {"name": "a", "n": 3, "x": {"y": 1, "z": 2}}, {"name": "C"}])
    }

    #[tokio::test]
    async fn lists_are_sorted_by_what_is_usual_or_asked_for() {
        let names = async |query: &[(&str, &str)]| {
            let list = listed(query, three()).await;
            let names = list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
            names.collect::<String>()
        };
        assert_eq!(names(&[]).await, "Cab");
        assert_eq!(names(&[("sort_reverse", "true")]).await, "baC");
        assert_eq!(names(&[("sort", "n")]).await, "Cba");
        assert_eq!(names(&[("sort", "x.y")]).await, "Cba");
        assert_eq!(names(&[("sort", "zz"), ("page_size", "1")]).await, "Cab");
    }

    #[tokio::test]
    async fn only_the_columns_asked_for_are_answered() {
        let list = listed(&[("columns", "name,x.y")], three()).await;
        assert_eq!(list, json!([{"name": "C"}, {"name": "a", "x": {"y": 1}}, {"name": "b"}]));
    }

    #[tokio::test]
    async fn pages_have_rabbitmqs_envelope() {
        let query = [
            ("page", "1"),
            ("page_size", "1"),
            ("name", "^[ac]$"),
            ("use_regex", "true"),
            ("columns", "name"),
        ];
        let page = listed(&query, three()).await;
        let expected = json!({"filtered_count": 2, "item_count": 1, "items": [{"name": "C"}], "page": 1,
            "page_count": 2, "page_size": 1, "total_count": 3});
        assert_eq!(page, expected);
        let page = listed(&[("page", "1"), ("name", "A")], three()).await;
        assert_eq!((&page["filtered_count"], &page["page_size"]), (&json!(1), &json!(100)));
        let page = listed(&[("page", "1"), ("name", "none")], three()).await;
        assert_eq!((&page["page_count"], &page["items"]), (&json!(0), &json!([])));
    }

    #[tokio::test]
    async fn pages_that_are_not_there_are_refused_with_rabbitmqs_texts() {
        let refused = async |query: &[(&str, &str)]| {
            let answer = listed(query, three()).await;
            format!("{}: {}", answer["error"].as_str().unwrap(), answer["reason"].as_str().unwrap())
        };
        assert_eq!(
            refused(&[("page", "9"), ("page_size", "2")]).await,
            "page_out_of_range: Page out of range, page: 9 page size: 2, len: 3"
        );
        assert_eq!(
            refused(&[("page", "0")]).await,
            "invalid_pagination_parameters: Invalid pagination parameters: page number 0, page size undefined"
        );
        assert_eq!(
            refused(&[("page", "1"), ("page_size", "501")]).await,
            "invalid_pagination_parameters: Invalid pagination parameters: page number 1, page size 501"
        );
        let invalid = "bad_request: Pagination parameters are invalid";
        assert_eq!(refused(&[("page", "x")]).await, invalid);
        assert_eq!(refused(&[("page", "1"), ("name", "("), ("use_regex", "true")]).await, invalid);
        let far = usize::MAX.to_string();
        assert!(refused(&[("page", &far), ("page_size", "500")]).await.starts_with("page_out_of_range"));
    }
}
