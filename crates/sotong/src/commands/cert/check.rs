//! `sotong cert check`: what clients would refuse, before they do.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use sotong_certs::{
    CertError, CertificateDer, Checked, Finding, authority_file, authority_folder, data_folder, read_chain, unix_now,
    utc,
};

use crate::catalogue::{Catalogue, Lang, text};
use crate::certificate;
use crate::cli::cert::CertCheck;
use crate::console::Console;
use crate::failure::{Failure, Usage, code};

pub(super) fn run(args: &CertCheck, console: &Console) -> Result<ExitCode, Failure> {
    if let (Some(_), [_, second, ..]) = (&args.key, &args.files[..]) {
        return Err(Failure::Usage(Usage::UnexpectedValue { value: second.display().to_string() }));
    }
    let known = own_authority();
    let mut worst = 0;
    for file in &args.files {
        let checked = sotong_certs::check(file, args.key.as_deref(), args.days, &known);
        let (code, lines) = match checked {
            Ok(checked) if args.json => (severity(&checked), object(file, &checked)),
            Ok(checked) => (severity(&checked), words(&console.catalogue, file, &checked)),
            Err(why) if args.json => {
                let failure = Failure::Cert(why);
                (failure.code(), unreadable(file, &failure))
            }
            Err(why) => (told(why, console), String::new()),
        };
        worst = worst.max(code);
        console.out(&lines)?;
    }
    Ok(ExitCode::from(worst))
}

/// Tells a failure, and goes on with the next file.
fn told(why: CertError, console: &Console) -> u8 {
    let failure = Failure::Cert(why);
    console.fail(&failure);
    failure.code()
}

/// The certificate of the local authority, if there is one that can be read.
fn own_authority() -> Vec<CertificateDer<'static>> {
    let file = data_folder().map(|data| authority_file(&authority_folder(&data)));
    file.and_then(|file| read_chain(&file)).unwrap_or_default()
}

fn severity(checked: &Checked) -> u8 {
    if checked.findings.is_empty() { 0 } else { code::CERTIFICATE }
}

fn words(catalogue: &Catalogue, file: &Path, checked: &Checked) -> String {
    let file = file.display();
    if checked.findings.is_empty() {
        let left = certificate::left(catalogue, &checked.chain[0], unix_now());
        return format!("{}\n", text!(catalogue, "cert-check-ok", file = file.to_string(), left = left));
    }
    checked.findings.iter().map(|finding| format!("{file}: {}\n", found(catalogue, finding))).collect()
}

/// One object a file; the names are a promise to scripts.
fn object(file: &Path, checked: &Checked) -> String {
    let english = Catalogue::new(Lang::En);
    let findings: Vec<_> = checked
        .findings
        .iter()
        .map(|finding| json!({ "finding": word(finding), "detail": found(&english, finding) }))
        .collect();
    let object = json!({
        "file": file.to_string_lossy(),
        "ok": checked.findings.is_empty(),
        "findings": findings,
        "chain": checked.chain.iter().map(|facts| certificate::object(facts, unix_now())).collect::<Vec<_>>(),
    });
    format!("{object}\n")
}

fn unreadable(file: &Path, failure: &Failure) -> String {
    let detail = failure.message(&Catalogue::new(Lang::En));
    let findings = [json!({ "finding": "unusable", "detail": detail })];
    format!("{}\n", json!({ "file": file.to_string_lossy(), "ok": false, "findings": findings, "chain": [] }))
}

fn word(finding: &Finding) -> &'static str {
    match finding {
        Finding::Expired { .. } => "expired",
        Finding::Expiring { .. } => "expiring",
        Finding::NotYetValid { .. } => "not yet valid",
        Finding::Incomplete { .. } => "incomplete",
        Finding::Disorder { .. } => "disorder",
        Finding::OldVersion { .. } => "old version",
        Finding::NoNames { .. } => "no names",
        _ => "other",
    }
}

fn found(catalogue: &Catalogue, finding: &Finding) -> String {
    match finding {
        Finding::Expired { subject, not_after } => {
            text!(catalogue, "found-expired", subject = subject.clone(), at = utc(*not_after))
        }
        Finding::Expiring { subject, not_after } => {
            text!(catalogue, "found-expiring", subject = subject.clone(), at = utc(*not_after))
        }
        Finding::NotYetValid { subject, not_before } => {
            text!(catalogue, "found-not-yet-valid", subject = subject.clone(), at = utc(*not_before))
        }
        Finding::Incomplete { issuer } => text!(catalogue, "found-incomplete", issuer = issuer.clone()),
        Finding::Disorder { subject } => text!(catalogue, "found-disorder", subject = subject.clone()),
        Finding::OldVersion { subject, version } => {
            text!(catalogue, "found-old-version", subject = subject.clone(), version = *version)
        }
        Finding::NoNames { subject } => text!(catalogue, "found-no-names", subject = subject.clone()),
        other => format!("{other:?}"),
    }
}
