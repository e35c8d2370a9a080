//! The flags of `sotong cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use sotong_certs::{DAYS_DEFAULT, DAYS_MAX};

use crate::units::whole;

#[derive(Debug, Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, subcommand_value_name = "COMMAND")]
pub(crate) struct Cert {
    #[command(subcommand)]
    pub(crate) command: CertCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    New(CertNew),
    Ca(CertCa),
    List(CertList),
    Show(CertShow),
    Check(CertCheck),
}

#[derive(Debug, Args)]
pub(crate) struct CertNew {
    #[arg(value_name = "NAME", required = true, value_hint = ValueHint::Hostname)]
    pub(crate) names: Vec<String>,
    #[arg(long)]
    pub(crate) client: bool,
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    #[arg(long)]
    pub(crate) force: bool,
    #[arg(long, value_name = "N", default_value_t = DAYS_DEFAULT, value_parser = whole::<u32>(1..=u64::from(DAYS_MAX)))]
    pub(crate) days: u32,
    #[arg(long, value_enum, default_value = "ecdsa")]
    pub(crate) key_type: KeyType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyType {
    Ecdsa,
    Ed25519,
}

#[derive(Debug, Args)]
pub(crate) struct CertCa {
    #[arg(long)]
    pub(crate) pem: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CertList {
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CertShow {
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CertCheck {
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    // A hundred years are further ahead than any certificate ends.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = whole::<u32>(0..=36_525))]
    pub(crate) days: u32,
    #[arg(long)]
    pub(crate) json: bool,
}
