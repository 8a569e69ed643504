//! The certificates of one control plane, made in process.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate authority, and the directory that its certificates are written to.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// A certificate could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The certificate could not be made.
    #[error("cannot make the certificate of {name}: {source}")]
    Make {
        /// Whose.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// A certificate of a client has at most two groups.
    #[error("{name} has {groups} groups: rcgen writes at most two organizations into a certificate")]
    Groups {
        /// Whose.
        name: String,
        /// How many.
        groups: usize,
    },
    /// It could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Authority {
    /// A new authority; `directory` gets `ca.crt`, and later the pairs.
    pub fn new(directory: &Path) -> Result<Self, PkiError> {
        let make = |source| PkiError::Make { name: "the authority".into(), source };
        let key = KeyPair::generate().map_err(make)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named("arcane-test-authority", &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = parameters.self_signed(&key).map_err(make)?.pem();
        let authority = Self { directory: directory.to_owned(), certificate, issuer: Issuer::new(parameters, key) };
        std::fs::create_dir_all(directory).map_err(|source| PkiError::Write { path: directory.to_owned(), source })?;
        authority.write("ca.crt", &authority.certificate)?;
        authority.write("ca.key", &authority.issuer.key().serialize_pem())?;
        Ok(authority)
    }

    /// The certificate of the authority, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The path of a file in the directory.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// A certificate of a server, written as `file.crt` and `file.key`. Names that are IP addresses become such.
    pub fn server(&self, file: &str, names: &[&str]) -> Result<Pair, PkiError> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut parameters =
            CertificateParams::new(names).map_err(|source| PkiError::Make { name: file.into(), source })?;
        parameters.distinguished_name = named(file, &[]);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.leaf(file, parameters)
    }

    /// A certificate of a client, written as `file.crt` and `file.key`: Kubernetes takes the name and the groups (at most two) from it.
    pub fn client(&self, file: &str, name: &str, groups: &[&str]) -> Result<Pair, PkiError> {
        if groups.len() > 2 {
            return Err(PkiError::Groups { name: name.into(), groups: groups.len() });
        }
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named(name, groups);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.leaf(file, parameters)
    }

    /// A key pair without a certificate, written as `file.key` and `file.pub`.
    pub fn bare_key(&self, file: &str) -> Result<(), PkiError> {
        let key = KeyPair::generate().map_err(|source| PkiError::Make { name: file.into(), source })?;
        self.write(&format!("{file}.key"), &key.serialize_pem())?;
        self.write(&format!("{file}.pub"), &key.public_key_pem())
    }

    fn leaf(&self, file: &str, mut parameters: CertificateParams) -> Result<Pair, PkiError> {
        let make = |source| PkiError::Make { name: file.into(), source };
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(make)?;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(make)?;
        let pair = Pair { certificate: certificate.pem(), key: key.serialize_pem() };
        self.write(&format!("{file}.crt"), &pair.certificate)?;
        self.write(&format!("{file}.key"), &pair.key)?;
        Ok(pair)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), PkiError> {
        let path = self.path(file);
        std::fs::write(&path, text).map_err(|source| PkiError::Write { path, source })
    }
}

fn named(name: &str, groups: &[&str]) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    // A name has one entry of each type, but the type of an organization can be said in two ways.
    let organizations = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    for (&group, organization) in groups.iter().zip(organizations) {
        named.push(organization, group);
    }
    named
}
