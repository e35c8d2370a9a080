//! What is done to the bytes of one direction on their way.
use super::{Act, Fault, Flow, Tap, text::Crlf};

/// A [`Flow`] at work: translates line ends, and shows what passes.
#[derive(Default)]
pub struct Filter {
    crlf: Option<Crlf>,
    tap: Option<Tap>,
    translated: Vec<u8>,
}

impl Filter {
    /// Does what `flow` says.
    pub fn new(flow: Flow) -> Self {
        Self { crlf: flow.crlf.then(Crlf::default), tap: flow.tap, translated: Vec::new() }
    }
    /// Whether it neither changes nor shows anything.
    pub fn is_idle(&self) -> bool {
        self.crlf.is_none() && self.tap.is_none()
    }
    /// What is to be written in place of `bytes`: the same slice where nothing is to be changed.
    ///
    /// # Errors
    /// They could not be shown.
    pub fn pass<'a>(&'a mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let bytes = match &mut self.crlf {
            Some(crlf) => crlf.translate(bytes, &mut self.translated),
            None => bytes,
        };
        if let Some(tap) = &mut self.tap {
            tap(bytes).map_err(|error| Fault::of(Act::Log, &error))?;
        }
        Ok(bytes)
    }
    /// The same for bytes that are at hand to be changed.
    ///
    /// # Errors
    /// As [`Self::pass`].
    pub fn pass_on(&mut self, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let count = bytes.len();
        // A translation only ever adds bytes.
        if self.pass(bytes)?.len() != count {
            bytes.clone_from(&self.translated);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("crlf", &self.crlf.is_some()).field("tap", &self.tap.is_some()).finish()
    }
}
