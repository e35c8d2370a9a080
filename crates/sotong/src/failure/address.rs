//! The words for addresses that cannot be read, found or listened on.

use std::io;

use sotong_net::endpoint::{Endpoint, EndpointError, HOST_NAME_BYTES_MAX, UNIX_NAME_BYTES_MAX, WS_PATH_BYTES_MAX};
use sotong_net::listen::ListenProblem;
use sotong_net::passed::PassedError;
use sotong_net::resolve::{Family, ResolveError};

use super::io_words;
use crate::catalogue::{Catalogue, text};

/// Why a text is no address.
pub(crate) fn endpoint(catalogue: &Catalogue, why: &EndpointError) -> String {
    match why {
        EndpointError::Empty => text!(catalogue, "address-empty"),
        EndpointError::UnknownScheme { scheme, like: None } => {
            text!(catalogue, "address-unknown-scheme", scheme = scheme.clone())
        }
        EndpointError::UnknownScheme { scheme, like: Some(like) } => {
            text!(catalogue, "address-unknown-scheme-like", scheme = scheme.clone(), like = like.name())
        }
        EndpointError::MissingSlashes { scheme, rest } => {
            text!(catalogue, "address-write", form = format!("{scheme}://{rest}"))
        }
        EndpointError::MissingPort { host } => text!(catalogue, "address-missing-port", host = host.clone()),
        EndpointError::PortAlone { port } => text!(catalogue, "address-port-alone", port = port.to_string()),
        EndpointError::BadPort { port } => text!(catalogue, "address-bad-port", port = port.clone()),
        EndpointError::EmptyHost => text!(catalogue, "address-empty-host"),
        EndpointError::UnbracketedIpv6 { text } => text!(catalogue, "address-unbracketed", text = text.clone()),
        EndpointError::BadIpv6 { text } => text!(catalogue, "address-bad-ipv6", text = text.clone()),
        EndpointError::BadIpv4 { text } => text!(catalogue, "address-bad-ipv4", text = text.clone()),
        EndpointError::BadHost { host, bad } => {
            text!(catalogue, "address-bad-host", host = host.clone(), bad = bad.to_string())
        }
        EndpointError::HostTooLong { bytes } => {
            text!(catalogue, "address-host-too-long", bytes = *bytes, most = HOST_NAME_BYTES_MAX)
        }
        EndpointError::AfterPort { text } => text!(catalogue, "address-after-port", text = text.clone()),
        EndpointError::BadPath { path, bad } => {
            text!(
                catalogue,
                "address-bad-path",
                path = path.escape_debug().to_string(),
                bad = bad.escape_debug().to_string()
            )
        }
        EndpointError::PathTooLong { bytes } => {
            text!(catalogue, "address-path-too-long", bytes = *bytes, most = WS_PATH_BYTES_MAX)
        }
        EndpointError::BarePath { path } => text!(catalogue, "address-write", form = format!("unix:{path}")),
        EndpointError::EmptyUnixName => text!(catalogue, "address-empty-unix"),
        EndpointError::UnixHost { path } => text!(catalogue, "address-unix-host", path = path.clone()),
        EndpointError::UnixNameTooLong { bytes } => {
            text!(catalogue, "address-unix-too-long", bytes = *bytes, most = UNIX_NAME_BYTES_MAX)
        }
        EndpointError::NulInUnixName => text!(catalogue, "address-unix-nul"),
        EndpointError::DialPortZero => text!(catalogue, "address-dial-port-zero"),
        EndpointError::DialAll => text!(catalogue, "address-dial-all"),
        other => other.to_string(),
    }
}

/// Why there is no listener at `at`.
pub(super) fn listening(catalogue: &Catalogue, at: &Endpoint, why: &ListenProblem) -> String {
    match why {
        ListenProblem::InUse if at.is_unix() => text!(catalogue, "listen-in-use-unix"),
        ListenProblem::InUse => text!(catalogue, "listen-in-use"),
        ListenProblem::LowPort { port } => text!(catalogue, "listen-low-port", port = port.to_string()),
        ListenProblem::NoPermission => text!(catalogue, "listen-no-permission"),
        ListenProblem::NotAvailable { ip } => text!(catalogue, "listen-not-available", ip = ip.to_string()),
        ListenProblem::NoFamily { family } => text!(catalogue, "listen-no-family", family = family.to_string()),
        ListenProblem::Resolve(why) => resolving(catalogue, why),
        ListenProblem::NoDirectory { directory } => {
            text!(catalogue, "listen-no-directory", directory = directory.display().to_string())
        }
        ListenProblem::NotASocket { path } => {
            text!(catalogue, "listen-not-a-socket", path = path.display().to_string())
        }
        ListenProblem::ReadOnly => text!(catalogue, "listen-read-only"),
        ListenProblem::Exhausted => text!(catalogue, "listen-exhausted"),
        ListenProblem::System { call, errno } => {
            text!(catalogue, "system-says", call = *call, why = io::Error::from_raw_os_error(*errno).to_string())
        }
        other => other.to_string(),
    }
}

/// Why a listener that was passed is none.
pub(super) fn passing(catalogue: &Catalogue, why: &PassedError) -> String {
    match why {
        PassedError::BadCount { value } => text!(catalogue, "passed-bad-count", value = value.clone()),
        PassedError::Missing { fd } => text!(catalogue, "passed-missing", fd = *fd),
        PassedError::WrongKind { fd } => text!(catalogue, "passed-wrong-kind", fd = *fd),
        PassedError::System { fd, errno } => {
            text!(catalogue, "passed-system", fd = *fd, why = io::Error::from_raw_os_error(*errno).to_string())
        }
        other => other.to_string(),
    }
}

/// Why a host has no address.
pub(super) fn resolving(catalogue: &Catalogue, why: &ResolveError) -> String {
    match why {
        ResolveError::NotFound { host, reason } => {
            text!(catalogue, "resolve-not-found", host = host.to_string(), reason = reason.clone())
        }
        ResolveError::NoneOfFamily { host, family } => {
            text!(catalogue, "resolve-none-of-family", host = host.clone(), family = family_name(*family))
        }
        ResolveError::NoSuchZone { zone } => text!(catalogue, "resolve-no-such-zone", zone = zone.to_string()),
        ResolveError::TimedOut { host, time_max } => {
            text!(catalogue, "resolve-timed-out", host = host.to_string(), seconds = time_max.as_secs_f64())
        }
        ResolveError::Busy => text!(catalogue, "resolve-busy"),
        ResolveError::NoThread(why) => text!(catalogue, "resolve-no-thread", why = io_words(catalogue, *why)),
        other => other.to_string(),
    }
}

fn family_name(family: Family) -> String {
    family.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Lang;

    fn said(lang: Lang, address: &str) -> String {
        let why = address.parse::<Endpoint>().expect_err("no address");
        endpoint(&Catalogue::new(lang), &why)
    }

    #[test]
    fn each_mistake_in_an_address_is_told_in_both_languages() {
        let long = format!("unix:/{}", "a".repeat(200));
        let path = format!("ws://a/{}", "a".repeat(2000));
        let mistakes = [
            "",
            "tpc://a:1",
            "gopher://a:1",
            "tcp:a:1",
            "localhost",
            "8888",
            "a:99999",
            "[]:1",
            "::1:80",
            "[::x]:1",
            "1.2.3:80",
            "a b:1",
            "a:80/index",
            "ws://a/b c",
            &path,
            "/tmp/x",
            "unix:",
            "unix://tmp/x",
            &long,
        ];
        for address in mistakes {
            let (en, ko) = (said(Lang::En, address), said(Lang::Ko, address));
            assert!(en.is_ascii() && !en.is_empty(), "{address}: {en}");
            assert!(ko.chars().any(|c| ('가'..='힣').contains(&c)), "{address}: {ko}");
            assert!(!en.contains('\n') && !ko.contains('\n'), "one line");
        }
        assert_eq!(
            said(Lang::Ko, "a:99999"),
            "'99999'는 포트가 아닙니다. 포트는 1에서 65535 사이의 숫자이며, 수신 대기할 때 0은 빈 포트를 고릅니다"
        );
    }
}
