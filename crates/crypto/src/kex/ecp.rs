//! Groups over a prime field: P-256, P-384 and P-521 (RFC 5903).

use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytesSize, PublicKey, SecretKey};

use super::BadPublicValue;
use crate::secret::Secret;

/// Octet 0 of a point given by both coordinates in SEC 1. IKE leaves it away: RFC 5903 §7 sends x | y.
const UNCOMPRESSED: u8 = 0x04;

pub(super) fn public<C>(private: &SecretKey<C>) -> Box<[u8]>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let point = private.public_key().to_sec1_point(false);
    Box::from(point.as_bytes().strip_prefix(&[UNCOMPRESSED]).unwrap_or_default())
}

/// RFC 6989 §2.3: the peer's coordinates must be below the prime and on the curve; the
/// infinite point has no such form. The secret is x alone (RFC 5903 §7).
pub(super) fn agree<C>(private: &SecretKey<C>, peer: &[u8]) -> Result<Secret, BadPublicValue>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let encoded: Vec<u8> = core::iter::once(UNCOMPRESSED).chain(peer.iter().copied()).collect();
    let peer = PublicKey::<C>::from_sec1_bytes(&encoded).map_err(|_| BadPublicValue::NotOnCurve)?;
    Ok(Secret::new(private.diffie_hellman(&peer).raw_secret_bytes()))
}
