//! A file in a form, as browsers and `curl -F file=@definitions.json` send one (RFC 7578).

use axum::http::{HeaderMap, header};

/// The boundary between the parts, if this is a form with files in it.
pub(super) fn boundary(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = kind.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let named = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    });
    named.filter(|boundary| !boundary.is_empty())
}

/// What is in the part called `name`; nothing if there is none, or the form does not end as it should.
pub(super) fn part<'a>(body: &'a [u8], boundary: &str, name: &str) -> Option<&'a [u8]> {
    let delimiter = format!("--{boundary}").into_bytes();
    let line = format!("\r\n--{boundary}").into_bytes();
    let wanted = format!("name=\"{name}\"");
    let mut rest = body.strip_prefix(delimiter.as_slice())?;
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let head_end = find(part, b"\r\n\r\n")?;
        let (head, content) = (&part[..head_end], &part[head_end + 4..]);
        let end = find(content, &line)?;
        let head = std::str::from_utf8(head).unwrap_or_default();
        let is_wanted = head.lines().any(|field| {
            let (field, value) = field.split_once(':').unwrap_or_default();
            field.eq_ignore_ascii_case("content-disposition")
                && value.split(';').any(|parameter| parameter.trim() == wanted)
        });
        if is_wanted {
            return Some(&content[..end]);
        }
        rest = &content[end + line.len()..];
    }
    None
}

/// Where `what` is. Looks for its first byte, which for all that is looked for here is rare.
fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let (first, mut from) = (what.first()?, 0);
    loop {
        let at = from + text[from..].iter().position(|byte| byte == first)?;
        if text[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_file_is_found_among_other_fields() {
        let body = b"--x-y\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\nback\r\n--x-y\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"a.json\"\r\nContent-Type: text/plain\r\n\r\n{\r\n}\r\n--x-y--\r\n";
        assert_eq!(part(body, "x-y", "file"), Some(b"{\r\n}".as_slice()));
        assert_eq!(part(body, "x-y", "redirect"), Some(b"back".as_slice()));
        assert_eq!(part(body, "x-y", "filename"), None);
        assert_eq!(part(body, "x", "file"), None);
        for length in 0..body.len() - 6 {
            assert!(part(&body[..length], "x-y", "file").is_none_or(|file| file == b"{\r\n}"), "{length}");
        }
    }

    #[test]
    fn the_boundary_is_what_the_content_type_says() {
        let named = |kind: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
            boundary(&headers)
        };
        assert_eq!(named("Multipart/Form-Data; charset=x; boundary=\"a b\"").unwrap(), "a b");
        assert_eq!(named("multipart/form-data; boundary=--x").unwrap(), "--x");
        assert_eq!(named("multipart/form-data; boundary="), None);
        assert_eq!(named("application/json; boundary=x"), None);
        assert_eq!(named("multipart/form-data"), None);
    }
}
