//! Certificates and Secrets: written, read back, and what is told of what can't be read.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
mod judged;

use std::collections::BTreeMap;

use arcane_certs::{
    Authority, AuthorityError, CertificateError, Lifetimes, MangledSecret, Memory, Observed, Published, ServingPair,
    ServingPairError, Stored, TrustBundle, plan,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::judged::{names, now};

fn an_authority() -> Authority {
    Authority::create(now(), &Lifetimes::default()).unwrap()
}

fn a_secret() -> Stored {
    Stored {
        current: an_authority(),
        next: Some(an_authority()),
        retired: TrustBundle::default().with(an_authority().certificate()),
    }
}

#[test]
fn an_authority_is_one_and_says_so() {
    let authority = an_authority();
    let (_, x509) = X509Certificate::from_der(authority.certificate().der()).unwrap();
    assert!(x509.is_ca());
    assert_eq!(x509.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(0));
    assert!(x509.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert_eq!(authority.validity().not_after, now().checked_add(SignedDuration::from_hours(365 * 24)).unwrap());
    assert_eq!(authority.validity().not_before, now().checked_sub(SignedDuration::from_hours(49)).unwrap());
    assert!(authority.validity().contains(now()));
}

#[test]
fn an_authority_is_read_as_it_was_written() {
    let authority = an_authority();
    let read = Authority::from_pem(authority.certificate().pem().as_bytes(), authority.key_pem().as_bytes());
    assert_eq!(read, Ok(authority));
}

#[test]
fn a_leaf_has_the_names_and_the_signer_and_can_do_no_more_than_serve() {
    let authority = an_authority();
    let pair = authority.sign(&names(), now(), &Lifetimes::default()).unwrap();
    assert_eq!(pair.leaf().signer, Some(authority.key_id()));
    assert_eq!(pair.leaf().validity.not_after, now().checked_add(SignedDuration::from_hours(168)).unwrap());
    let pem = x509_parser::pem::parse_x509_pem(pair.chain_pem().as_bytes()).unwrap().1;
    let x509 = pem.parse_x509().unwrap();
    assert!(!x509.is_ca());
    assert!(x509.extended_key_usage().unwrap().unwrap().value.server_auth);
    let found = &x509.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(ServingPair::from_pem(pair.chain_pem().as_bytes(), pair.key_pem().as_bytes()), Ok(pair));
}

#[test]
fn a_leaf_is_refused_where_it_could_not_work() {
    let (authority, lifetimes) = (an_authority(), Lifetimes::default());
    let after = authority.validity().not_after.checked_add(SignedDuration::from_secs(1)).unwrap();
    let refused = authority.sign(&names(), after, &lifetimes);
    assert!(matches!(refused, Err(ServingPairError::SignerNotValid(_))), "{refused:?}");
    for names in [vec![], vec!["with\u{e9}accent".to_owned()]] {
        let refused = authority.sign(&names, now(), &lifetimes);
        assert!(matches!(refused, Err(ServingPairError::Names(_))), "{refused:?}");
    }
    // Times that certificates can't express are errors, too.
    for moment in [Timestamp::MIN, Timestamp::MAX] {
        let _ = Authority::create(moment, &lifetimes);
    }
}

#[test]
fn what_does_not_belong_together_is_told() {
    let (one, other) = (an_authority(), an_authority());
    let certificate = one.certificate().pem();
    let both = format!("{certificate}{}", other.certificate().pem());
    let leaf = one.sign(&names(), now(), &Lifetimes::default()).unwrap();
    let read = |certificate: &str, key: &str| Authority::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err();
    assert_eq!(read(&certificate, other.key_pem()), AuthorityError::KeyOfAnother);
    assert_eq!(read(&certificate, "rubbish"), AuthorityError::Key);
    assert_eq!(read(&certificate, &certificate), AuthorityError::Key);
    assert_eq!(read("", one.key_pem()), AuthorityError::Certificate(CertificateError::Absent));
    assert_eq!(read(&both, one.key_pem()), AuthorityError::Certificate(CertificateError::Several(2)));
    assert_eq!(read(leaf.chain_pem(), leaf.key_pem()), AuthorityError::NotAnAuthority);
    let mixed = ServingPair::from_pem(leaf.chain_pem().as_bytes(), one.key_pem().as_bytes());
    assert_eq!(mixed, Err(ServingPairError::KeyOfAnother));
}

#[test]
fn what_no_client_would_accept_is_told() {
    let authority = an_authority();
    let pair = authority.sign(&names(), now(), &Lifetimes::default()).unwrap();
    let bundle = TrustBundle::default().with(authority.certificate());
    let name = names().swap_remove(0);
    assert_eq!(pair.problem(&name, &bundle, now()), None);
    assert_eq!(pair.problem(&name, &TrustBundle::default(), now()), None, "whom clients trust isn't known");
    let said = |name: &str, bundle: &TrustBundle, at: Timestamp| pair.problem(name, bundle, at).unwrap_or_default();
    assert!(said("elsewhere.svc", &bundle, now()).contains("is not for elsewhere.svc"));
    assert!(said(&name, &bundle, now() + SignedDuration::from_hours(24 * 30)).contains("is valid from"));
    let other = TrustBundle::default().with(an_authority().certificate());
    assert!(said(&name, &other, now()).contains("is not signed by the authority beside it"));
}

#[test]
fn a_key_behind_its_parameters_is_a_key() {
    let pair = an_authority().sign(&names(), now(), &Lifetimes::default()).unwrap();
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let key = format!("{parameters}{}", pair.key_pem());
    assert!(ServingPair::from_pem(pair.chain_pem().as_bytes(), key.as_bytes()).is_ok());
}

#[test]
fn a_secret_is_read_as_it_was_written() {
    let secret = a_secret();
    assert_eq!(Stored::decode(&secret.encode()), Ok(secret.clone()));
    let alone = Stored { next: None, retired: TrustBundle::default(), ..secret };
    assert_eq!(Stored::decode(&alone.encode()), Ok(alone));
}

#[test]
fn a_mangled_secret_is_told_by_its_keys() {
    let secret = a_secret();
    let without = |key: &str| {
        let mut data = secret.encode();
        data.remove(key).unwrap();
        Stored::decode(&data).map(drop)
    };
    assert_eq!(without("current.crt"), Err(MangledSecret::Absent("current.crt")));
    assert_eq!(without("current.key"), Err(MangledSecret::Absent("current.key")));
    assert_eq!(without("next.key"), Err(MangledSecret::Absent("next.key")));
    assert_eq!(without("retired.crt"), Ok(()));
    assert_eq!(Stored::decode(&BTreeMap::new()), Err(MangledSecret::Absent("current.crt")));
    let twice = Stored { next: Some(secret.current.clone()), ..secret.clone() };
    assert_eq!(Stored::decode(&twice.encode()), Err(MangledSecret::SameTwice));
    let mut damaged = secret.encode();
    damaged.insert("next.crt".to_owned(), b"-----BEGIN CERTIFICATE-----".to_vec());
    let told = Stored::decode(&damaged).unwrap_err().to_string();
    assert_eq!(told, r#"the Secret's keys ["next.crt", "next.key"]: the certificate is damaged PEM"#);
}

#[test]
fn no_key_is_ever_printed() {
    let secret = a_secret();
    let pair = secret.current.sign(&names(), now(), &Lifetimes::default()).unwrap();
    let observed = Observed {
        now: now(),
        uptime: std::time::Duration::ZERO,
        stored: Some(Ok(secret.clone())),
        published: vec![Published::Missing],
        served: Some(pair.leaf()),
        is_writer: true,
        memory: Memory::default(),
    };
    let mut swapped = secret.encode();
    let (key, other) = (swapped["current.key"].clone(), swapped["next.key"].clone());
    swapped.insert("current.key".to_owned(), other);
    swapped.insert("next.key".to_owned(), key);
    let mut shifted = secret.encode();
    shifted.insert("current.crt".to_owned(), shifted["current.key"].clone());
    let mut cut = secret.encode();
    cut.get_mut("current.key").unwrap().truncate(100);
    let errors: Vec<_> = [swapped, shifted, cut].iter().map(|data| Stored::decode(data).unwrap_err()).collect();
    let lifetimes = Lifetimes::default();
    let printed = format!("{observed:?} {pair:?} {:?} {errors:?} {errors:#?}", plan(&observed, &lifetimes));
    for key in [secret.current.key_pem(), secret.next.as_ref().unwrap().key_pem(), pair.key_pem()] {
        for line in key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!printed.contains(line));
        }
    }
    assert!(!printed.contains("BEGIN PRIVATE KEY"));
}

/// Something like a Secret: rubbish, and pieces of real ones in wrong places, cut and flipped.
fn a_strange_secret() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let key = prop_oneof![
        4 => prop::sample::select(vec!["current.crt", "current.key", "next.crt", "next.key", "retired.crt"])
            .prop_map(str::to_owned),
        1 => ".{0,12}",
    ];
    let pieces: Vec<Vec<u8>> = a_secret().encode().into_values().collect();
    let piece = (prop::sample::select(pieces), any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>());
    let value = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => piece.clone().prop_map(|(piece, ..)| piece),
        2 => piece.clone().prop_map(|(mut piece, at, _, byte)| {
            let at = at.index(piece.len());
            piece[at] = byte;
            piece
        }),
        1 => piece.clone().prop_map(|(mut piece, at, ..)| {
            piece.truncate(at.index(piece.len()));
            piece
        }),
        // Damaged below the armour.
        2 => piece.prop_map(|(piece, at, other, byte)| {
            let mut block = pem::parse(&piece).unwrap().into_contents();
            let (at, other) = (at.index(block.len()), other.index(block.len()));
            block[at] ^= byte;
            block[other] = byte;
            let tag = if piece.starts_with(b"-----BEGIN CERT") { "CERTIFICATE" } else { "PRIVATE KEY" };
            pem::encode(&pem::Pem::new(tag, block)).into_bytes()
        }),
    ];
    prop::collection::btree_map(key, value, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_in_a_secret_or_a_bundle_makes_it_panic(data in a_strange_secret()) {
        judged::secret(&data);
    }
}

#[test]
fn nothing_in_a_secret_of_the_corpus_makes_it_panic() {
    for (path, input) in corpus::of("secrets") {
        println!("{}", path.display());
        let encoded: BTreeMap<String, String> = serde_json::from_slice(&input).unwrap();
        let decode = |(key, value)| (key, BASE64_STANDARD.decode::<String>(value).unwrap());
        judged::secret(&encoded.into_iter().map(decode).collect());
    }
}
