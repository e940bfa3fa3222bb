//! What a server's certificate gives to channel binding: `tls-server-end-point` (RFC 5929, 4.1).

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// 1.2.840.113549.1.1, whose last number says with which hash RSA signed.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4, the same of ECDSA: 1 is SHA-1, 3.N the others.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

/// The certificate's hash, by the hash function that its signature was made with; where that is MD5 or SHA-1,
/// by SHA-256. `None` where the signature names no single hash (Ed25519, RSA-PSS), for which the standard has
/// no rule.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let identifier = signed_with(certificate)?;
    let rsa = identifier.strip_prefix(RSA);
    let ecdsa = identifier.strip_prefix(ECDSA);
    Some(match (rsa, ecdsa) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Sha256::digest(certificate).to_vec(),
        (Some([12]), _) | (_, Some([3, 3])) => Sha384::digest(certificate).to_vec(),
        (Some([13]), _) | (_, Some([3, 4])) => Sha512::digest(certificate).to_vec(),
        (Some([14]), _) | (_, Some([3, 1])) => Sha224::digest(certificate).to_vec(),
        _ => return None,
    })
}

/// The identifier of the algorithm that signed it: `Certificate` is a sequence of what is signed, the
/// algorithm and the signature (RFC 5280, 4.1).
fn signed_with(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = value(certificate, SEQUENCE)?;
    let (_, rest) = value(certificate, SEQUENCE)?;
    let (algorithm, _) = value(rest, SEQUENCE)?;
    value(algorithm, OBJECT_IDENTIFIER).map(|(identifier, _)| identifier)
}

/// The first value of this kind in DER, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = der else { return None };
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        // So many bytes of length follow; four are more than any certificate has.
        long @ 0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(long - 0x80))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    fn certificate(identifier: &[u8]) -> Vec<u8> {
        let algorithm = der(SEQUENCE, &der(OBJECT_IDENTIFIER, identifier));
        der(SEQUENCE, &[der(SEQUENCE, &[7; 300]), algorithm, der(0x03, &[0; 64])].concat())
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        for (family, last, bytes) in [
            (RSA, &[4][..], Some(32)),
            (RSA, &[5], Some(32)),
            (RSA, &[10], None),
            (RSA, &[11], Some(32)),
            (RSA, &[12], Some(48)),
            (RSA, &[13], Some(64)),
            (RSA, &[14], Some(28)),
            (ECDSA, &[1], Some(32)),
            (ECDSA, &[3, 1], Some(28)),
            (ECDSA, &[3, 2], Some(32)),
            (ECDSA, &[3, 3], Some(48)),
            (ECDSA, &[3, 4], Some(64)),
            // Ed25519: 1.3.101.112.
            (&[], &[0x2b, 0x65, 0x70], None),
        ] {
            let certificate = certificate(&[family, last].concat());
            assert_eq!(end_point(&certificate).map(|hash| hash.len()), bytes, "{family:?} {last:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_nonsense_has_none() {
        let whole = certificate(&[ECDSA, &[3, 2]].concat());
        for length in 0..whole.len() {
            assert_eq!(end_point(&whole[..length]), None, "{length}");
        }
        assert_eq!(end_point(&[SEQUENCE, 0x80, 1, 2, 3]), None);
        assert_eq!(end_point(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }
}
