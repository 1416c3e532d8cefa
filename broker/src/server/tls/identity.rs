//! Who a client's certificate says it is. The certificate has been verified before anybody asks.

use std::fmt::Write as _;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::PeerCertificate;
use crate::config::CertificateLogin;

/// The short names of what subjects are made of (RFC 4514, and what RabbitMQ adds).
const ATTRIBUTES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.46", "DNQUALIFIER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
];

/// The user's name in a certificate; none if it is not there.
pub(super) fn user_of(certificate: &CertificateDer<'_>, from: CertificateLogin) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = match from {
        CertificateLogin::DistinguishedName => distinguished_name(subject),
        CertificateLogin::CommonName => {
            let names: Vec<String> = subject.iter_common_name().filter_map(text).collect();
            names.join(",")
        }
        CertificateLogin::Dns | CertificateLogin::Email | CertificateLogin::Uri | CertificateLogin::Ip => {
            let names = certificate.subject_alternative_name().ok()??;
            names.value.general_names.iter().find_map(|name| alternative(name, from))?
        }
    };
    (!name.is_empty()).then_some(name)
}

/// What listings show of a client's certificate; nothing if it cannot be read.
pub(super) fn details(certificate: &CertificateDer<'_>) -> Option<PeerCertificate> {
    let validity = validity(certificate)?;
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    Some(PeerCertificate {
        subject: distinguished_name(subject),
        issuer: distinguished_name(issuer),
        validity,
    })
}

/// From when to when a certificate is valid, in seconds since 1970; nothing if it cannot be read.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

fn alternative(name: &GeneralName<'_>, from: CertificateLogin) -> Option<String> {
    match (name, from) {
        (GeneralName::DNSName(name), CertificateLogin::Dns)
        | (GeneralName::RFC822Name(name), CertificateLogin::Email)
        | (GeneralName::URI(name), CertificateLogin::Uri) => Some((*name).to_owned()),
        (GeneralName::IPAddress(bytes), CertificateLogin::Ip) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

/// As RFC 4514 writes it: the last part first.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> =
        name.iter_rdn().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let id = attribute.attr_type().to_id_string();
    let name = ATTRIBUTES.iter().find(|(known, _)| *known == id).map_or(id.as_str(), |(_, name)| *name);
    format!("{name}={}", escaped(&text(attribute).unwrap_or_default()))
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    attribute.as_str().map(str::to_owned).ok()
}

/// RFC 4514, section 2.4; all that is not printable ASCII as well, as by RabbitMQ.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let is_special = b",+\"\\<>;".contains(&byte)
            || (at == 0 && (byte == b'#' || byte == b' '))
            || (at == last && byte == b' ');
        match byte {
            32..126 if is_special => escaped.extend(['\\', char::from(byte)]),
            32..126 => escaped.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(escaped, "\\{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_user_is_found_where_the_setting_says() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "SE");
        params.distinguished_name.push(DnType::OrganizationName, "Burrow, Inc.");
        params.distinguished_name.push(DnType::CommonName, "alex");
        params.subject_alt_names = vec![
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::Rfc822Name("alex@example.org".try_into().unwrap()),
            SanType::DnsName("alex.example.org".try_into().unwrap()),
            SanType::DnsName("second.example.org".try_into().unwrap()),
            SanType::URI("spiffe://example.org/alex".try_into().unwrap()),
        ];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        for (from, expected) in [
            (CertificateLogin::DistinguishedName, "CN=alex,O=Burrow\\, Inc.,C=SE"),
            (CertificateLogin::CommonName, "alex"),
            (CertificateLogin::Dns, "alex.example.org"),
            (CertificateLogin::Email, "alex@example.org"),
            (CertificateLogin::Uri, "spiffe://example.org/alex"),
            (CertificateLogin::Ip, "10.0.0.1"),
        ] {
            assert_eq!(user_of(certificate.der(), from).as_deref(), Some(expected), "{from:?}");
        }
    }

    #[test]
    fn what_is_not_there_names_nobody() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        for from in [CertificateLogin::DistinguishedName, CertificateLogin::CommonName, CertificateLogin::Dns]
        {
            assert_eq!(user_of(certificate.der(), from), None, "{from:?}");
        }
        assert_eq!(user_of(&CertificateDer::from(vec![1, 2, 3]), CertificateLogin::CommonName), None);
    }

    #[test]
    fn values_are_escaped() {
        for (value, expected) in [
            ("#a+b", "\\#a\\+b"),
            (" a ", "\\ a\\ "),
            ("a#b c", "a#b c"),
            ("é", "\\C3\\A9"),
            ("a\nb", "a\\0Ab"),
        ] {
            assert_eq!(escaped(value), expected);
        }
    }
}
