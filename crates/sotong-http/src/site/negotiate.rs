//! What a client has, wants and can read: conditions (RFC 9110 §13), encodings (§12.5.3) and languages (§12.5.4).
use crate::{Method, Request, date, head::trim};

/// What a client's conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it, and whether a `Range` counts.
    Send { ranges: bool },
    /// The client has it: 304.
    NotModified,
    /// It is not as the client said: 412.
    Failed,
}

/// Weighs the conditions of a request against what is there, in the order of RFC 9110 §13.2.2.
pub(crate) fn weigh(request: &Request<'_>, etag: Option<&str>, modified: Option<i64>) -> Verdict {
    let matches = |name: &str, weak: bool| {
        let mut lists = request.all(name).peekable();
        lists.peek()?;
        Some(lists.any(|list| is_listed(list, etag, weak)))
    };
    let since = |name: &str| Some(modified? <= date::parse(request.one(name)?)?);
    match matches("if-match", false) {
        Some(false) => return Verdict::Failed,
        None if since("if-unmodified-since") == Some(false) => return Verdict::Failed,
        Some(true) | None => {}
    }
    match matches("if-none-match", true) {
        Some(true) if matches!(request.method(), Method::Get | Method::Head) => return Verdict::NotModified,
        Some(true) => return Verdict::Failed,
        None if since("if-modified-since") == Some(true) => return Verdict::NotModified,
        Some(false) | None => {}
    }
    let ranges = request.all("if-range").all(|validator| {
        etag.is_some_and(|etag| etag.as_bytes() == validator)
            || date::parse(validator).is_some_and(|date| modified == Some(date))
    });
    Verdict::Send { ranges }
}

/// Whether one of the entity tags is ours; none of ours has a comma in it.
fn is_listed(list: &[u8], etag: Option<&str>, weak: bool) -> bool {
    list.split(|byte| *byte == b',').map(trim).any(|tag| {
        let tag = if weak { tag.strip_prefix(b"W/").unwrap_or(tag) } else { tag };
        tag == b"*" || etag.is_some_and(|etag| etag.as_bytes() == tag)
    })
}

/// Whether a coding is acceptable: it is named, or `*` is, and not with a weight of 0.
pub(crate) fn accepts(request: &Request<'_>, coding: &str) -> bool {
    let mut any = false;
    for (name, weight) in request.all("accept-encoding").flat_map(weighted) {
        if name.eq_ignore_ascii_case(coding.as_bytes()) {
            return weight > 0;
        }
        any |= name == b"*" && weight > 0;
    }
    any
}

/// Which of the languages a client likes best; the first where it says nothing.
pub(crate) fn language<'l>(request: &Request<'_>, languages: impl Iterator<Item = &'l str>) -> usize {
    let mut best = (0, 0);
    for (number, language) in languages.enumerate() {
        for (range, weight) in request.all("accept-language").flat_map(weighted) {
            let main = range.split(|byte| *byte == b'-').next().unwrap_or_default();
            if main.eq_ignore_ascii_case(language.as_bytes()) && weight > best.0 {
                best = (weight, number);
            }
        }
    }
    best.1
}

/// The elements of a list with their weights in thousandths.
fn weighted(list: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
    list.split(|byte| *byte == b',').map(|element| {
        let mut parts = element.split(|byte| *byte == b';').map(trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        (name, weight.map_or(1000, thousandths))
    })
}

/// `0.5` is 500; what is malformed is 0.
fn thousandths(text: &[u8]) -> u32 {
    let (whole, fraction) = match text {
        [whole] => (*whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return 0,
    };
    if !matches!(whole, b'0' | b'1') || !fraction.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |digit| u32::from(digit - b'0'));
    (u32::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2)).min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HttpLimits;

    fn with<R>(fields: &str, run: impl FnOnce(&Request<'_>) -> R) -> R {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        run(&Request::parse(head.as_bytes(), &HttpLimits::default()).unwrap())
    }

    #[test]
    fn conditions_are_weighed_in_their_order() {
        let (etag, modified) = ("\"a\"", 784_111_777);
        let (same, before) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT");
        let send = Verdict::Send { ranges: true };
        for (fields, expect) in [
            (String::new(), send),
            ("If-None-Match: \"a\"\r\n".into(), Verdict::NotModified),
            ("If-None-Match: W/\"a\"\r\n".into(), Verdict::NotModified),
            ("If-None-Match: \"b\", \"a\"\r\n".into(), Verdict::NotModified),
            ("If-None-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n".into(), Verdict::NotModified),
            ("If-None-Match: *\r\n".into(), Verdict::NotModified),
            (format!("If-None-Match: \"b\"\r\nIf-Modified-Since: {same}\r\n"), send),
            (format!("If-Modified-Since: {same}\r\n"), Verdict::NotModified),
            (format!("If-Modified-Since: {before}\r\n"), send),
            ("If-Modified-Since: yesterday\r\n".into(), send),
            ("If-Match: \"b\"\r\n".into(), Verdict::Failed),
            ("If-Match: W/\"a\"\r\n".into(), Verdict::Failed),
            ("If-Match: \"a\"\r\n".into(), send),
            (format!("If-Unmodified-Since: {before}\r\n"), Verdict::Failed),
            (format!("If-Unmodified-Since: {same}\r\n"), send),
            ("If-Range: \"a\"\r\n".into(), send),
            ("If-Range: W/\"a\"\r\n".into(), Verdict::Send { ranges: false }),
            ("If-Range: \"b\"\r\n".into(), Verdict::Send { ranges: false }),
            (format!("If-Range: {same}\r\n"), send),
            (format!("If-Range: {before}\r\n"), Verdict::Send { ranges: false }),
        ] {
            assert_eq!(with(&fields, |request| weigh(request, Some(etag), Some(modified))), expect, "{fields}");
        }
    }

    #[test]
    fn codings_and_languages_are_chosen() {
        for (fields, expect) in [
            ("", false),
            ("Accept-Encoding: gzip, br\r\n", true),
            ("Accept-Encoding: gzip\r\nAccept-Encoding: BR\r\n", true),
            ("Accept-Encoding: br;q=0\r\n", false),
            ("Accept-Encoding: br; q=0.5\r\n", true),
            ("Accept-Encoding: *\r\n", true),
            ("Accept-Encoding: *, br;q=0.000\r\n", false),
            ("Accept-Encoding: brotli\r\n", false),
        ] {
            assert_eq!(with(fields, |request| accepts(request, "br")), expect, "{fields}");
        }
        let best = |fields: &str| with(fields, |request| language(request, ["en", "ko"].into_iter()));
        assert_eq!(best(""), 0);
        assert_eq!(best("Accept-Language: ko-KR,ko;q=0.9,en-US;q=0.8\r\n"), 1);
        assert_eq!(best("Accept-Language: en, ko;q=0.8\r\n"), 0);
        assert_eq!(best("Accept-Language: de, ko;q=0.1\r\n"), 1);
    }
}
