//! The words for certificates, keys and names that cannot be used.

use std::path::Path;

use sotong_certs::{CertError, FILE_BYTES_MAX, Holds, NameProblem, Warning, utc};

use super::{code, io_words};
use crate::catalogue::{Catalogue, text};

/// The exit code of a certificate that cannot be used, or made.
pub(super) fn code(why: &CertError) -> u8 {
    match why {
        CertError::BadPin { .. }
        | CertError::Versions { .. }
        | CertError::BadName { .. }
        | CertError::NoName
        | CertError::BadDays { .. } => code::USAGE,
        CertError::Unwritable { .. }
        | CertError::Exists { .. }
        | CertError::Locked { .. }
        | CertError::KeyLog { .. }
        | CertError::Library { .. } => code::FAILED,
        _ => code::CONFIG,
    }
}

/// What is wrong, and the way out of it.
pub(super) fn message(catalogue: &Catalogue, why: &CertError) -> String {
    match why {
        CertError::Unreadable { file, why } => {
            text!(catalogue, "cert-unreadable", file = shown(file), why = io_words(catalogue, *why))
        }
        CertError::TooLarge { file } => {
            text!(catalogue, "cert-too-large", file = shown(file), most = FILE_BYTES_MAX >> 20)
        }
        CertError::NoCertificate { file, holds } => {
            text!(
                catalogue,
                "cert-no-certificate",
                file = shown(file),
                holds = certificate_holds(catalogue, file, *holds)
            )
        }
        CertError::NoKey { file, holds } => {
            text!(catalogue, "cert-no-key", file = shown(file), holds = key_holds(catalogue, file, *holds))
        }
        CertError::Damaged { file } => text!(catalogue, "cert-damaged", file = shown(file)),
        CertError::EncryptedKey { file } => text!(catalogue, "cert-encrypted-key", file = shown(file)),
        CertError::UnsupportedKey { file } => text!(catalogue, "cert-unsupported-key", file = shown(file)),
        CertError::KeyMismatch { cert, key } => {
            text!(catalogue, "cert-key-mismatch", cert = shown(cert), key = shown(key))
        }
        CertError::LeafNotFirst { file } => text!(catalogue, "cert-leaf-not-first", file = shown(file)),
        CertError::Expired { file, not_after } => {
            text!(catalogue, "cert-expired", file = shown(file), at = utc(*not_after))
        }
        CertError::NotYetValid { file, not_before } => {
            text!(catalogue, "cert-not-yet-valid", file = shown(file), at = utc(*not_before))
        }
        CertError::NoIdentity => text!(catalogue, "cert-no-identity"),
        CertError::NoSystemRoots => text!(catalogue, "cert-no-system-roots"),
        CertError::Versions { min, max } => {
            text!(catalogue, "cert-versions", min = min.to_string(), max = max.to_string())
        }
        CertError::BadPin { text } => text!(catalogue, "cert-bad-pin", text = text.clone()),
        CertError::KeyLog { file, why } => {
            text!(catalogue, "cert-key-log", file = shown(file), why = io_words(catalogue, *why))
        }
        other => making(catalogue, other),
    }
}

/// What is wrong with something that should be made.
fn making(catalogue: &Catalogue, why: &CertError) -> String {
    match why {
        CertError::BadName { text, why } => {
            text!(catalogue, "cert-bad-name", text = text.clone(), why = name(catalogue, *why))
        }
        CertError::NoName => text!(catalogue, "cert-no-name"),
        CertError::AuthorityExpired { file, not_after } => {
            let folder = file.parent().unwrap_or(file);
            text!(catalogue, "cert-authority-expired", folder = shown(folder), at = utc(*not_after))
        }
        CertError::NoDataFolder => text!(catalogue, "cert-no-data-folder"),
        CertError::Unwritable { file, why } => {
            text!(catalogue, "error-write", what = shown(file), why = io_words(catalogue, *why))
        }
        CertError::Exists { file } => text!(catalogue, "cert-exists", file = shown(file)),
        CertError::Locked { file } => text!(catalogue, "cert-locked", file = shown(file)),
        other => text!(catalogue, "cert-library", why = other.to_string()),
    }
}

fn certificate_holds(catalogue: &Catalogue, file: &Path, holds: Holds) -> String {
    match holds {
        Holds::Empty => text!(catalogue, "holds-not-a-byte"),
        Holds::Key => text!(catalogue, "holds-key"),
        Holds::PublicKey => text!(catalogue, "holds-public-key"),
        Holds::Request => text!(catalogue, "holds-request"),
        Holds::Binary => text!(catalogue, "holds-binary-certificate", file = shown(file)),
        _ => text!(catalogue, "holds-no-certificate"),
    }
}

fn key_holds(catalogue: &Catalogue, file: &Path, holds: Holds) -> String {
    match holds {
        Holds::Empty => text!(catalogue, "holds-not-a-byte"),
        Holds::Certificate => text!(catalogue, "holds-certificate"),
        Holds::PublicKey => text!(catalogue, "holds-public-key"),
        Holds::Request => text!(catalogue, "holds-request"),
        Holds::Binary => text!(catalogue, "holds-binary-key", file = shown(file)),
        _ => text!(catalogue, "holds-no-key"),
    }
}

fn name(catalogue: &Catalogue, why: NameProblem) -> String {
    match why {
        NameProblem::Empty => text!(catalogue, "name-empty"),
        NameProblem::TooLong => text!(catalogue, "name-too-long"),
        NameProblem::Character(bad) => {
            let bad = if bad.is_control() { bad.escape_default().to_string() } else { bad.to_string() };
            text!(catalogue, "name-character", bad = bad)
        }
        NameProblem::Hyphen => text!(catalogue, "name-hyphen"),
        NameProblem::Star => text!(catalogue, "name-star"),
        NameProblem::Numeric => text!(catalogue, "name-numeric"),
        NameProblem::Idna => text!(catalogue, "name-idna"),
        other => other.to_string(),
    }
}

/// Something that works and should be known.
pub(crate) fn warning(catalogue: &Catalogue, what: &Warning) -> String {
    match what {
        Warning::KeyReadable { file, mode } => {
            text!(catalogue, "cert-key-readable", file = shown(file), mode = format!("{mode:o}"))
        }
        Warning::ExpiresSoon { file, not_after } => {
            text!(catalogue, "cert-expires-soon", file = shown(file), at = utc(*not_after))
        }
        Warning::ChainDisorder { file } => text!(catalogue, "cert-chain-disorder", file = shown(file)),
        other => format!("{other:?}"),
    }
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::PathBuf;

    use sotong_certs::TlsVersion;

    use super::*;
    use crate::catalogue::Lang;

    #[test]
    fn each_fault_has_words_in_both_languages_and_an_exit_code() {
        let file = || PathBuf::from("a.pem");
        let all_holds = [
            Holds::Nothing,
            Holds::Empty,
            Holds::Certificate,
            Holds::Key,
            Holds::PublicKey,
            Holds::Request,
            Holds::Binary,
        ];
        let names = [
            NameProblem::Empty,
            NameProblem::TooLong,
            NameProblem::Character('\n'),
            NameProblem::Hyphen,
            NameProblem::Star,
            NameProblem::Numeric,
            NameProblem::Idna,
        ];
        let mut faults = vec![
            (78, CertError::Unreadable { file: file(), why: ErrorKind::IsADirectory }),
            (78, CertError::TooLarge { file: file() }),
            (78, CertError::Damaged { file: file() }),
            (78, CertError::EncryptedKey { file: file() }),
            (78, CertError::UnsupportedKey { file: file() }),
            (78, CertError::KeyMismatch { cert: file(), key: "k.pem".into() }),
            (78, CertError::LeafNotFirst { file: file() }),
            (78, CertError::Expired { file: file(), not_after: 0 }),
            (78, CertError::NotYetValid { file: file(), not_before: 0 }),
            (78, CertError::NoIdentity),
            (78, CertError::NoSystemRoots),
            (78, CertError::AuthorityExpired { file: file(), not_after: 0 }),
            (78, CertError::NoDataFolder),
            (2, CertError::Versions { min: TlsVersion::V13, max: TlsVersion::V12 }),
            (2, CertError::BadPin { text: "x".to_owned() }),
            (2, CertError::NoName),
            (1, CertError::KeyLog { file: file(), why: ErrorKind::NotADirectory }),
            (1, CertError::Unwritable { file: file(), why: ErrorKind::ReadOnlyFilesystem }),
            (1, CertError::Exists { file: file() }),
            (1, CertError::Locked { file: file() }),
            (1, CertError::Library { what: "x" }),
        ];
        faults.extend(all_holds.map(|holds| (78, CertError::NoCertificate { file: file(), holds })));
        faults.extend(all_holds.map(|holds| (78, CertError::NoKey { file: file(), holds })));
        faults.extend(names.map(|why| (2, CertError::BadName { text: "x".to_owned(), why })));
        for (expect, fault) in faults {
            let [en, ko] = [Lang::En, Lang::Ko].map(|lang| message(&Catalogue::new(lang), &fault));
            assert!(en.is_ascii() && !en.contains('\n') && en.ends_with('.'), "{fault:?}: {en}");
            assert!(ko.chars().any(|c| ('가'..='힣').contains(&c)) && ko.ends_with('.'), "{fault:?}: {ko}");
            assert_eq!(code(&fault), expect, "{fault:?}");
        }
        let warnings = [
            Warning::KeyReadable { file: file(), mode: 0o644 },
            Warning::ExpiresSoon { file: file(), not_after: 0 },
            Warning::ChainDisorder { file: file() },
        ];
        for what in warnings {
            let [en, ko] = [Lang::En, Lang::Ko].map(|lang| warning(&Catalogue::new(lang), &what));
            assert!(en.is_ascii() && en.contains("a.pem") && ko.contains("a.pem") && ko.ends_with("오."), "{en} {ko}");
        }
    }
}
