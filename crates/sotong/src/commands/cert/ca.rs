//! `sotong cert ca`: the authority's certificate, and how to trust it.

use std::path::Path;

use sotong_certs::{Authority, unix_now};

use crate::catalogue::text;
use crate::certificate;
use crate::cli::cert::CertCa;
use crate::console::Console;
use crate::failure::Failure;

pub(super) fn run(args: &CertCa, console: &Console) -> Result<(), Failure> {
    let authority = super::new::open(console)?;
    if args.pem {
        return console.out(authority.pem());
    }
    console.out(&words(&authority, console))
}

fn words(authority: &Authority, console: &Console) -> String {
    let catalogue = &console.catalogue;
    let file = quoted(&authority.file());
    let mut words = certificate::paragraph(catalogue, authority.facts(), unix_now());
    words += &format!("  {}\n\n", text!(catalogue, "cert-ca-file", file = authority.file().display().to_string()));
    words += &format!("{}\n", text!(catalogue, "cert-ca-trust"));
    match Store::of_this_system() {
        Some(store) => words += &format!("  {}\n    {}\n", text!(catalogue, "cert-ca-system"), store.command(&file)),
        None => words += &format!("  {}\n", text!(catalogue, "cert-ca-no-system")),
    }
    words += &format!(
        "  {}\n    certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n sotong -i {file}\n",
        text!(catalogue, "cert-ca-browsers")
    );
    words += &format!("  {}\n    curl --cacert {file} https://localhost\n", text!(catalogue, "cert-ca-programs"));
    words
}

/// Where a system keeps the authorities that it trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Debian,
    Fedora,
    Suse,
    Arch,
}

impl Store {
    const ALL: [Self; 4] = [Self::Debian, Self::Fedora, Self::Suse, Self::Arch];

    /// By the folder that only it has.
    fn of_this_system() -> Option<Self> {
        Self::ALL.into_iter().find(|store| Path::new(store.folder()).is_dir())
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Debian => "/usr/local/share/ca-certificates",
            Self::Fedora => "/etc/pki/ca-trust/source/anchors",
            Self::Suse => "/etc/pki/trust/anchors",
            Self::Arch => "/etc/ca-certificates/trust-source/anchors",
        }
    }

    /// The command that adds a file to it.
    fn command(self, file: &str) -> String {
        let (folder, update) = (
            self.folder(),
            match self {
                Self::Debian | Self::Suse => "update-ca-certificates",
                Self::Fedora | Self::Arch => "update-ca-trust",
            },
        );
        // Debian takes files that end in .crt only.
        format!("sudo cp {file} {folder}/sotong.crt && sudo {update}")
    }
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    if path.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c)) {
        return path;
    }
    format!("'{}'", path.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_would_cut_it() {
        assert_eq!(quoted(Path::new("/a/b-c.pem")), "/a/b-c.pem");
        assert_eq!(quoted(Path::new("/a b/$c.pem")), "'/a b/$c.pem'");
        assert_eq!(quoted(Path::new("/a'b")), "'/a'\\''b'");
    }

    #[test]
    fn each_system_has_a_command() {
        for store in Store::ALL {
            let command = store.command("ca.pem");
            assert!(command.starts_with(&format!("sudo cp ca.pem {}/sotong.crt && sudo update-ca-", store.folder())));
        }
    }
}
