//! What a component has said before it asks for an authentication. The secret is for one user, and no byte of
//! the exchange may be of the component's making: it could have sent half of one already.

/// Bytes of a startup message that PostgreSQL reads.
const MAX_STARTUP: usize = 10_000;
/// 3.0: every server since 2003 speaks it.
const PROTOCOL: [u8; 4] = [0, 3, 0, 0];

/// Everything a component sent since the connection was opened or encrypted, as far as a startup message can
/// go.
#[derive(Debug, Default)]
pub(super) struct Said {
    bytes: Vec<u8>,
    too_much: bool,
}

impl Said {
    pub(super) fn note(&mut self, bytes: &[u8]) {
        self.too_much |= self.bytes.len() + bytes.len() > MAX_STARTUP;
        if self.too_much {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Whether it was one startup message of protocol 3.0 that names this user, and nothing else.
    pub(super) fn introduces(&self, user: &str) -> bool {
        !self.too_much && named(&self.bytes) == Some(user.as_bytes())
    }
}

/// The user that a startup message names.
fn named(message: &[u8]) -> Option<&[u8]> {
    let (length, rest) = message.split_first_chunk()?;
    let rest = rest.strip_prefix(&PROTOCOL)?.strip_suffix(&[0])?;
    if usize::try_from(u32::from_be_bytes(*length)).ok() != Some(message.len()) {
        return None;
    }
    let mut words = rest.strip_suffix(&[0])?.split(|byte| *byte == 0);
    let mut user = None;
    while let Some(key) = words.next() {
        let value = words.next()?;
        // An empty key ends the message for the server, whatever follows.
        if key.is_empty() || (key == b"user" && user.replace(value).is_some()) {
            return None;
        }
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(parameters: &str) -> Vec<u8> {
        let length = u32::try_from(parameters.len() + 8).unwrap().to_be_bytes();
        [&length, &PROTOCOL, parameters.as_bytes()].concat()
    }

    #[test]
    fn only_a_startup_message_of_that_user_introduces_it() {
        let whole = startup("user\0reader\0database\0shop\0\0");
        let longer = startup(&format!("user\0reader\0application_name\0{}\0\0", "x".repeat(MAX_STARTUP)));
        let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
        for (said, introduces) in [
            (vec![&whole[..]], true),
            (vec![&whole[..5], &whole[5..]], true),
            (vec![&startup("database\0shop\0user\0reader\0\0")], true),
            (vec![&startup("user\0admin\0\0")], false),
            (vec![&startup("database\0user\0\0")], false),
            (vec![&startup("user\0reader\0user\0admin\0\0")], false),
            (vec![&startup("user\0admin\0user\0reader\0\0")], false),
            (vec![&startup("database\0\0\0user\0reader\0\0")], false),
            (vec![&startup("\0user\0reader\0\0")], false),
            (vec![&startup("user\0reader\0")], false),
            (vec![], false),
            (vec![&whole, b"p\0\0\0\x05x"], false),
            (vec![&whole[..whole.len() - 1]], false),
            (vec![&ssl_request, &whole], false),
            (vec![&longer], false),
            (vec![&[0; MAX_STARTUP + 1], &whole], false),
        ] {
            let mut told = Said::default();
            said.iter().for_each(|bytes| told.note(bytes));
            assert_eq!(told.introduces("reader"), introduces, "{said:?}");
        }
    }
}
