//! Describes the services to clients that ask for their methods and messages.

use blobaccess::{Error, Result};
use tonic::service::Routes;
use tonic_reflection::server::{Builder, v1, v1alpha};

use super::health::Needs;
use super::received_messages::CODINGS;

/// The names of the services that describe the others.
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_BEFORE: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Adds both versions of reflection to `routes`, which describe the services of these `names`.
pub(crate) fn add_to(routes: Routes, names: &[(&'static str, Needs)]) -> Result<Routes> {
    let builder = |own_name: &str| {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(blobaccess_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(HEALTH)
            .with_service_name(own_name);
        names.iter().fold(builder, |builder, (name, _)| builder.with_service_name(*name))
    };
    let unfit = |error| Error::internal("services cannot be described").with_source(error);
    let current = builder(REFLECTION).build_v1().map_err(unfit)?;
    let before = builder(REFLECTION_BEFORE).build_v1alpha().map_err(unfit)?;
    let current = CODINGS.into_iter().fold(current, v1::ServerReflectionServer::accept_compressed);
    let before = CODINGS.into_iter().fold(before, v1alpha::ServerReflectionServer::accept_compressed);
    Ok(routes.add_service(current).add_service(before))
}
