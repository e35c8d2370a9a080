//! What there is at a path, ready to be sent.
use crate::{Fields, Name};
use bytes::Bytes;
use sotong_session::Source;
use std::{fmt, sync::Arc};

/// Files of up to this many bytes are read whole when they are looked up, and sent from memory; larger ones by the kernel.
pub const SMALL_BYTES_MAX: u64 = 32 << 10;

/// What there is at a path.
#[derive(Clone, Debug)]
pub enum Found {
    /// A file, or the page that shows a folder.
    Entry(Arc<Entry>),
    /// A folder, asked for without the slash behind it.
    Folder,
    /// Nothing that is served.
    Missing,
    /// Something that this process may not read.
    Forbidden,
    /// There are no descriptors left, or too much is asked for at once.
    Busy,
    /// The system failed.
    Failed,
}

impl Found {
    /// Files it holds open, and bytes it holds.
    pub(crate) fn weight(&self) -> (usize, usize) {
        let Self::Entry(entry) = self else { return (0, 0) };
        let variants = || entry.variants.iter();
        let files = variants().filter(|variant| matches!(variant.content, Content::File(_))).count();
        let bytes = variants().map(|variant| match &variant.content {
            Content::Bytes(bytes) => bytes.len(),
            Content::File(_) => 0,
        });
        (files, bytes.sum())
    }
}

/// A file in all its codings.
#[derive(Debug)]
pub struct Entry {
    /// The file as it is, then what it was compressed to beforehand, the best first.
    variants: Vec<Variant>,
}

/// Where a body's bytes are.
#[derive(Clone)]
pub enum Content {
    /// Here.
    Bytes(Bytes),
    /// In a file.
    File(Arc<dyn Source>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File(_) => f.write_str("File"),
        }
    }
}

/// What the system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its length in bytes.
    pub length: u64,
    /// When it was changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// Its number in its file system.
    pub inode: u64,
}

/// One coding of a file, with everything that is said of it.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) coding: Option<&'static str>,
    pub(crate) content: Content,
    pub(crate) length: u64,
    pub(crate) etag: Option<String>,
    /// Seconds since 1970.
    pub(crate) modified: Option<i64>,
    pub(crate) content_type: String,
    pub(crate) fields: Fields,
    /// The same without the type, for several parts in one body.
    pub(crate) unmarked: Fields,
}

impl Entry {
    /// A file by its name; `content` is as `facts` say. `compressed` is what lies beside it, in `br` or `gzip`.
    pub fn file(name: &[u8], content: (Content, Facts), compressed: Vec<(&'static str, Content, Facts)>) -> Self {
        let content_type = content_type(name, &content.0);
        let varies = !compressed.is_empty();
        let variant = |coding, content, facts| Variant::file(coding, content, facts, &content_type, varies);
        let mut variants = vec![variant(None, content.0, content.1)];
        variants.extend(compressed.into_iter().map(|(coding, content, facts)| variant(Some(coding), content, facts)));
        Self { variants }
    }
    /// A page that is made anew each time: nobody keeps it.
    pub fn page(html: String) -> Self {
        let content_type = "text/html; charset=utf-8".to_owned();
        let mut fields = Fields::new()
            .with(Name::CONTENT_TYPE, "text/html; charset=utf-8")
            .with(Name::CACHE_CONTROL, "no-cache")
            .with(Name::VARY, "Accept-Language");
        policy(&mut fields, "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'");
        let content = Content::Bytes(html.into());
        let Content::Bytes(bytes) = &content else { unreachable!("made a line above") };
        let length = bytes.len() as u64;
        Self {
            variants: vec![Variant {
                coding: None,
                length,
                content,
                etag: None,
                modified: None,
                content_type,
                fields,
                unmarked: Fields::new(),
            }],
        }
    }
    /// The file as it is.
    pub(crate) fn plain(&self) -> &Variant {
        &self.variants[0]
    }
    /// The best coding that is acceptable; the file as it is where none is.
    pub(crate) fn best(&self, accepts: impl Fn(&str) -> bool) -> &Variant {
        let mut compressed = self.variants[1..].iter();
        compressed.find(|variant| variant.coding.is_some_and(&accepts)).unwrap_or(self.plain())
    }
}

fn policy(fields: &mut Fields, policy: &'static str) {
    let added = fields.add(Name::CONTENT_SECURITY_POLICY, policy);
    debug_assert_eq!(added, Ok(()));
}

impl Variant {
    fn file(coding: Option<&'static str>, content: Content, facts: Facts, content_type: &str, varies: bool) -> Self {
        let Facts { length, modified: (seconds, nanos), inode } = facts;
        // Two versions of one length within a tick of the file system's clock cannot be told apart by anybody.
        let suffix = coding.map(|coding| format!("-{coding}")).unwrap_or_default();
        let etag = format!("\"{inode:x}-{seconds:x}.{nanos:x}-{length:x}{suffix}\"");
        let mut unmarked = Fields::new();
        let added = unmarked.add(Name::ETAG, &etag);
        unmarked.date(Name::LAST_MODIFIED, seconds);
        unmarked = unmarked.with(Name::ACCEPT_RANGES, "bytes");
        if let Some(coding) = coding {
            unmarked = unmarked.with(Name::CONTENT_ENCODING, coding);
        }
        if varies {
            unmarked = unmarked.with(Name::VARY, "Accept-Encoding");
        }
        let mut fields = Fields::new();
        let added = added.and(fields.add(Name::CONTENT_TYPE, content_type));
        debug_assert_eq!(added, Ok(()));
        fields.extend(&unmarked);
        let (content_type, modified) = (content_type.to_owned(), Some(seconds.max(0)));
        Self { coding, content, length, etag: Some(etag), modified, content_type, fields, unmarked }
    }
}

/// By the name's ending; text is taken to be UTF-8. A name without an ending that says anything is text if it looks so.
fn content_type(name: &[u8], content: &Content) -> String {
    let name = String::from_utf8_lossy(name);
    let Some(mime) = mime_guess::from_path(&*name).first() else {
        let is_text = matches!(content, Content::Bytes(bytes) if !bytes.is_empty() && is_text(bytes));
        return if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" }.to_owned();
    };
    let essence = mime.essence_str();
    let is_text = mime.type_() == mime_guess::mime::TEXT
        || essence.ends_with("+xml")
        || essence.ends_with("+json")
        || matches!(essence, "application/javascript" | "application/json" | "application/xml");
    if is_text { format!("{essence}; charset=utf-8") } else { essence.to_owned() }
}

fn is_text(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| *byte < b' ' && !b"\t\n\r\x0c\x1b".contains(byte);
    std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_by_names() {
        let of = |name: &str, bytes: &'static [u8]| content_type(name.as_bytes(), &Content::Bytes(bytes.into()));
        for (name, expect) in [
            ("a.html", "text/html; charset=utf-8"),
            ("한글.TXT", "text/plain; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("a.png", "image/png"),
            ("a.wasm", "application/wasm"),
            ("a.tar.gz", "application/gzip"),
        ] {
            assert_eq!(of(name, b""), expect, "{name}");
        }
        assert_eq!(of("LICENSE", "MIT 라이선스\n".as_bytes()), "text/plain; charset=utf-8");
        assert_eq!(of("core", b"\x7fELF\x02\x00"), "application/octet-stream");
        assert_eq!(of("empty", b""), "application/octet-stream");
    }
}
