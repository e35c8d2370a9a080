//! Pages that are made: what is in a folder, and what a server without a folder shows.
use super::path::encode;
use crate::date::Civil;
use std::fmt::Write;

/// Names that a folder's page shows; behind them it says that there are more.
pub const NAMES_MAX: usize = 10_000;

/// The words of a page, in one language. Whoever serves has them from its catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The language, as HTML and `Accept-Language` name it.
    pub lang: String,
    /// The served folder itself, which has no name that a visitor should know.
    pub root: String,
    /// The way up.
    pub up: String,
    /// Over the names.
    pub name: String,
    /// Over the sizes.
    pub size: String,
    /// Over the dates, which are in UTC.
    pub changed: String,
    /// There is nothing in it.
    pub empty: String,
    /// There is more than is shown.
    pub more: String,
    /// Over the form that takes a file.
    pub upload: String,
    /// On the button that sends it.
    pub send: String,
}

impl Default for Words {
    fn default() -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            lang: text("en"),
            root: text("Files"),
            up: text("Up"),
            name: text("Name"),
            size: text("Size"),
            changed: text("Changed (UTC)"),
            empty: text("This folder is empty."),
            more: text("There are more files than are shown."),
            upload: text("Put a file here"),
            send: text("Send"),
        }
    }
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Folders come first.
    pub kind: NameKind,
    /// Its name, in bytes as the file system has it.
    pub name: Vec<u8>,
    /// Bytes, of a file.
    pub size: u64,
    /// When it was changed, seconds since 1970.
    pub modified: i64,
}

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// A folder.
    Folder,
    /// A file.
    File,
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0 auto;max-width:60rem;padding:1rem;font:1rem/1.5 system-ui,\"Apple SD Gothic Neo\",\"Malgun Gothic\",\
\"Noto Sans KR\",\"NanumGothic\",sans-serif;word-break:keep-all;overflow-wrap:anywhere}\
h1{font-size:1.25rem;margin:.5rem 0 1rem}\
a{color:light-dark(#0b57d0,#a8c7fa);text-decoration:none}a:hover,a:focus{text-decoration:underline}\
table{width:100%;border-collapse:collapse}\
th{text-align:left;font-weight:600;font-size:.875rem}\
th,td{padding:.5rem .25rem;border-bottom:1px solid light-dark(#ddd,#444);vertical-align:baseline}\
td:first-child a{display:block}\
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
.d{white-space:nowrap;font-variant-numeric:tabular-nums}\
@media(max-width:34rem){table,tbody{display:block}thead{display:none}\
tr{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem;padding:.5rem .25rem;border-bottom:1px solid light-dark(#ddd,#444)}\
td{padding:0;border:0}td:first-child{flex:1 0 100%}td:first-child a{padding:.125rem 0}.n,.d{font-size:.875rem;opacity:.75}}";

/// The page of a folder. `names` are sorted; `is_cut` says that there are more than these.
pub fn folder(words: &Words, path: &[u8], names: &[Name], is_cut: bool, takes_files: bool) -> String {
    let title = if path.is_empty() { words.root.clone() } else { String::from_utf8_lossy(path).into_owned() };
    let mut page = String::with_capacity(2048 + names.len() * 200);
    begin(&mut page, &words.lang, &title);
    page.push_str("<h1>");
    escape(&mut page, &title);
    page.push_str("</h1>\n<table>\n<thead><tr><th>");
    escape(&mut page, &words.name);
    page.push_str("</th><th class=\"n\">");
    escape(&mut page, &words.size);
    page.push_str("</th><th>");
    escape(&mut page, &words.changed);
    page.push_str("</th></tr></thead>\n<tbody>\n");
    if !path.is_empty() {
        page.push_str("<tr><td><a href=\"../\">↑ ");
        escape(&mut page, &words.up);
        page.push_str("</a></td></tr>\n");
    }
    for name in names {
        row(&mut page, name);
    }
    page.push_str("</tbody>\n</table>\n");
    for (is_so, text) in [(names.is_empty(), &words.empty), (is_cut, &words.more)] {
        if is_so {
            page.push_str("<p>");
            escape(&mut page, text);
            page.push_str("</p>\n");
        }
    }
    if takes_files {
        page.push_str("<form method=\"post\" enctype=\"multipart/form-data\"><p><label>");
        escape(&mut page, &words.upload);
        page.push_str(" <input type=\"file\" name=\"file\" required></label> <button>");
        escape(&mut page, &words.send);
        page.push_str("</button></p></form>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn begin(page: &mut String, lang: &str, title: &str) {
    page.push_str("<!DOCTYPE html>\n<html lang=\"");
    escape(page, lang);
    page.push_str("\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    escape(page, title);
    page.push_str("</title>\n<style>");
    page.push_str(STYLE);
    page.push_str("</style>\n</head>\n<body>\n");
}

fn row(page: &mut String, Name { kind, name, size, modified }: &Name) {
    let slash = if *kind == NameKind::Folder { "/" } else { "" };
    let mut link = Vec::with_capacity(name.len() + 8);
    // Else a name with a colon would be a scheme.
    link.extend_from_slice(b"./");
    encode(name, &mut link);
    page.push_str("<tr><td><a href=\"");
    page.push_str(&String::from_utf8_lossy(&link));
    page.push_str(slash);
    page.push_str("\">");
    escape(page, &String::from_utf8_lossy(name));
    page.push_str(slash);
    page.push_str("</a></td><td class=\"n\">");
    if *kind == NameKind::File {
        push_size(page, *size);
    }
    let Civil { year, month, day, hour, minute, .. } = Civil::new(*modified);
    // Writing to a string does not fail.
    let _ = writeln!(page, "</td><td class=\"d\">{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}</td></tr>");
}

/// Three digits are what people read.
fn push_size(page: &mut String, size: u64) {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 1024 {
        let _ = write!(page, "{size} B");
        return;
    }
    let mut unit = 0;
    let mut value = size as f64 / 1024.0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    let _ = write!(page, "{value:.digits$} {}", UNITS[unit]);
}

/// A text as text, in an element or in an attribute between double quotes.
pub(crate) fn escape(page: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            // They would turn around what stands behind them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => page.push('\u{fffd}'),
            char => page.push(char),
        }
    }
}

/// The page of a server that has no folder.
pub fn hello(words: &Words, title: &str, paragraphs: &[String]) -> String {
    let mut page = String::with_capacity(2048);
    begin(&mut page, &words.lang, title);
    page.push_str("<h1>");
    escape(&mut page, title);
    page.push_str("</h1>\n");
    for text in paragraphs {
        page.push_str("<p>");
        escape(&mut page, text);
        page.push_str("</p>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_links() {
        let name = |kind, name: &str| Name { kind, name: name.into(), size: 1536, modified: 784_111_777 };
        let names = [
            name(NameKind::Folder, "사진"),
            name(NameKind::File, "<script>alert('1')</script>&\".txt"),
            name(NameKind::File, "javascript:alert(1)"),
        ];
        let page = folder(&Words::default(), "자료/a".as_bytes(), &names, true, false);
        for expect in [
            "<html lang=\"en\">",
            "<title>자료/a</title>",
            "<a href=\"../\">↑ Up</a>",
            "<a href=\"./%EC%82%AC%EC%A7%84/\">사진/</a>",
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;.txt</a>",
            "<a href=\"./javascript%3Aalert%281%29\">",
            "<td class=\"n\">1.50 KiB</td><td class=\"d\">1994-11-06 08:49</td>",
            "There are more files",
        ] {
            assert!(page.contains(expect), "{expect} in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("<form"));
        assert!(folder(&Words::default(), b"", &[], false, true).contains("<form"));
    }

    #[test]
    fn sizes_have_three_digits() {
        for (size, expect) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10_240, "10.0 KiB"),
            (1_048_576, "1.00 MiB"),
            (1_572_864_000, "1.46 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            let mut page = String::new();
            push_size(&mut page, size);
            assert_eq!(page, expect);
        }
    }
}
