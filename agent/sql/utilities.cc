// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/utilities.h"

#include <algorithm>
#include <iterator>

namespace gatehouse::sql {
namespace {

using Kind = ObjectKind;
using enum Effect;

// Sorted by node.
constexpr Utility kUtilities[] = {
    {"AlterCollationStmt", "ALTER COLLATION", {kAlter}, Kind::kOther, {kAlter}, Key::k_collname},
    {"AlterDatabaseRefreshCollStmt", "ALTER DATABASE", {kAlter}, Kind::kDatabase, {kAlter}, Key::k_dbname},
    {"AlterDatabaseSetStmt", "ALTER DATABASE", {kAlter}, Kind::kDatabase, {kAlter}, Key::k_dbname},
    {"AlterDatabaseStmt", "ALTER DATABASE", {kAlter}, Kind::kDatabase, {kAlter}, Key::k_dbname},
    {"AlterDefaultPrivilegesStmt", "ALTER DEFAULT PRIVILEGES", {kAlter}, Kind::kOther, {}, Key::kNone},
    {"AlterDomainStmt", "ALTER DOMAIN", {kAlter}, Kind::kType, {kAlter}, Key::k_typeName},
    {"AlterEnumStmt", "ALTER TYPE", {kAlter}, Kind::kType, {kAlter}, Key::k_typeName},
    {"AlterEventTrigStmt", "ALTER EVENT TRIGGER", {kAlter}, Kind::kEventTrigger, {kAlter}, Key::k_trigname},
    {"AlterExtensionContentsStmt", "ALTER EXTENSION", {kAlter}, Kind::kExtension, {kAlter}, Key::k_extname},
    {"AlterExtensionStmt", "ALTER EXTENSION", {kAlter, kUnknown}, Kind::kExtension, {kAlter}, Key::k_extname},
    {"AlterFdwStmt", "ALTER FOREIGN DATA WRAPPER", {kAlter}, Kind::kForeignDataWrapper, {kAlter}, Key::k_fdwname},
    {"AlterForeignServerStmt", "ALTER SERVER", {kAlter}, Kind::kServer, {kAlter}, Key::k_servername},
    {"AlterFunctionStmt", "ALTER FUNCTION", {kAlter}, Kind::kFunction, {kAlter}, Key::k_func},
    {"AlterOpFamilyStmt", "ALTER OPERATOR FAMILY", {kAlter}, Kind::kOther, {kAlter}, Key::k_opfamilyname},
    {"AlterOperatorStmt", "ALTER OPERATOR", {kAlter}, Kind::kOther, {kAlter}, Key::k_opername},
    {"AlterPolicyStmt", "ALTER POLICY", {kAlter}, Kind::kPolicy, {kAlter}, Key::k_policy_name, {kAlter}},
    {"AlterPublicationStmt", "ALTER PUBLICATION", {kAlter}, Kind::kPublication, {kAlter}, Key::k_pubname, {kAlter}},
    {"AlterRoleSetStmt", "ALTER ROLE", {kAlter}, Kind::kRole, {kAlter}, Key::k_role},
    {"AlterRoleStmt", "ALTER ROLE", {kAlter}, Kind::kRole, {kAlter}, Key::k_role},
    {"AlterSeqStmt", "ALTER SEQUENCE", {kAlter}, Kind::kSequence, {kAlter}, Key::k_sequence},
    {"AlterStatsStmt", "ALTER STATISTICS", {kAlter}, Kind::kOther, {kAlter}, Key::k_defnames},
    {"AlterSubscriptionStmt",
     "ALTER SUBSCRIPTION",
     {kAlter, kNetwork},
     Kind::kSubscription,
     {kAlter},
     Key::k_subname,
     {kReference},
     Key::k_conninfo},
    {"AlterSystemStmt", "ALTER SYSTEM", {kServerControl}, Kind::kOther, {}, Key::kNone},
    {"AlterTSConfigurationStmt", "ALTER TEXT SEARCH CONFIGURATION", {kAlter}, Kind::kOther, {kAlter}, Key::k_cfgname},
    {"AlterTSDictionaryStmt", "ALTER TEXT SEARCH DICTIONARY", {kAlter}, Kind::kOther, {kAlter}, Key::k_dictname},
    {"AlterTableMoveAllStmt", "ALTER TABLE", {kAlter, kUnknown}, Kind::kOther, {}, Key::kNone},
    {"AlterTableSpaceOptionsStmt", "ALTER TABLESPACE", {kAlter}, Kind::kTablespace, {kAlter}, Key::k_tablespacename},
    {"AlterTypeStmt", "ALTER TYPE", {kAlter}, Kind::kType, {kAlter}, Key::k_typeName},
    {"AlterUserMappingStmt", "ALTER USER MAPPING", {kAlter}, Kind::kUserMapping, {kAlter}, Key::k_servername},
    {"CheckPointStmt", "CHECKPOINT", {kServerControl}, Kind::kOther, {}, Key::kNone},
    {"ClosePortalStmt", "CLOSE CURSOR", {kPrepare}, Kind::kOther, {}, Key::k_portalname},
    {"ClusterStmt", "CLUSTER", {kMaintain}, Kind::kTable, {kMaintain}, Key::k_relation},
    {"CompositeTypeStmt", "CREATE TYPE", {kCreate}, Kind::kType, {kCreate}, Key::k_typevar},
    {"ConstraintsSetStmt", "SET CONSTRAINTS", {kTransaction}, Kind::kOther, {}, Key::kNone},
    {"CreateAmStmt", "CREATE ACCESS METHOD", {kCreate}, Kind::kOther, {kCreate}, Key::k_amname},
    {"CreateCastStmt", "CREATE CAST", {kCreate}, Kind::kOther, {}, Key::kNone},
    {"CreateConversionStmt", "CREATE CONVERSION", {kCreate}, Kind::kOther, {kCreate}, Key::k_conversion_name},
    {"CreateDomainStmt", "CREATE DOMAIN", {kCreate}, Kind::kType, {kCreate}, Key::k_domainname},
    {"CreateEnumStmt", "CREATE TYPE", {kCreate}, Kind::kType, {kCreate}, Key::k_typeName},
    {"CreateEventTrigStmt", "CREATE EVENT TRIGGER", {kCreate}, Kind::kEventTrigger, {kCreate}, Key::k_trigname},
    {"CreateExtensionStmt", "CREATE EXTENSION", {kCreate, kUnknown}, Kind::kExtension, {kCreate}, Key::k_extname},
    {"CreateFdwStmt", "CREATE FOREIGN DATA WRAPPER", {kCreate}, Kind::kForeignDataWrapper, {kCreate}, Key::k_fdwname},
    {"CreateForeignServerStmt", "CREATE SERVER", {kCreate}, Kind::kServer, {kCreate}, Key::k_servername},
    {"CreateOpClassStmt", "CREATE OPERATOR CLASS", {kCreate}, Kind::kOther, {kCreate}, Key::k_opclassname},
    {"CreateOpFamilyStmt", "CREATE OPERATOR FAMILY", {kCreate}, Kind::kOther, {kCreate}, Key::k_opfamilyname},
    {"CreatePLangStmt", "CREATE LANGUAGE", {kCreate}, Kind::kLanguage, {kCreate}, Key::k_plname},
    {"CreatePolicyStmt", "CREATE POLICY", {kCreate}, Kind::kPolicy, {kCreate}, Key::k_policy_name, {kAlter}},
    {"CreatePublicationStmt", "CREATE PUBLICATION", {kCreate}, Kind::kPublication, {kCreate}, Key::k_pubname, {kAlter}},
    {"CreateRangeStmt", "CREATE TYPE", {kCreate}, Kind::kType, {kCreate}, Key::k_typeName},
    {"CreateRoleStmt", "CREATE ROLE", {kCreate}, Kind::kRole, {kCreate}, Key::k_role},
    {"CreateSeqStmt", "CREATE SEQUENCE", {kCreate}, Kind::kSequence, {kCreate}, Key::k_sequence},
    {"CreateStatsStmt", "CREATE STATISTICS", {kCreate}, Kind::kOther, {kCreate}, Key::k_defnames, {kAlter}},
    {"CreateSubscriptionStmt",
     "CREATE SUBSCRIPTION",
     {kCreate, kNetwork},
     Kind::kSubscription,
     {kCreate},
     Key::k_subname,
     {kReference},
     Key::k_conninfo},
    {"CreateTableSpaceStmt",
     "CREATE TABLESPACE",
     {kCreate, kFileWrite},
     Kind::kTablespace,
     {kCreate},
     Key::k_tablespacename,
     {kReference},
     Key::k_location},
    {"CreateTransformStmt", "CREATE TRANSFORM", {kCreate}, Kind::kOther, {}, Key::kNone},
    {"CreateUserMappingStmt", "CREATE USER MAPPING", {kCreate}, Kind::kUserMapping, {kCreate}, Key::k_servername},
    {"CreatedbStmt", "CREATE DATABASE", {kCreate}, Kind::kDatabase, {kCreate}, Key::k_dbname},
    {"DeallocateStmt", "DEALLOCATE", {kPrepare}, Kind::kOther, {}, Key::k_name},
    {"DropOwnedStmt", "DROP OWNED", {kDrop, kRevoke, kUnknown}, Kind::kRole, {kDrop}, Key::k_roles},
    {"DropRoleStmt", "DROP ROLE", {kDrop}, Kind::kRole, {kDrop}, Key::k_roles},
    {"DropSubscriptionStmt", "DROP SUBSCRIPTION", {kDrop, kNetwork}, Kind::kSubscription, {kDrop}, Key::k_subname},
    {"DropTableSpaceStmt", "DROP TABLESPACE", {kDrop, kFileWrite}, Kind::kTablespace, {kDrop}, Key::k_tablespacename},
    {"DropUserMappingStmt", "DROP USER MAPPING", {kDrop}, Kind::kUserMapping, {kDrop}, Key::k_servername},
    {"DropdbStmt", "DROP DATABASE", {kDrop}, Kind::kDatabase, {kDrop}, Key::k_dbname},
    {"ImportForeignSchemaStmt",
     "IMPORT FOREIGN SCHEMA",
     {kCreate, kNetwork, kUnknown},
     Kind::kServer,
     {kReference},
     Key::k_server_name},
    {"IndexStmt", "CREATE INDEX", {kCreate}, Kind::kIndex, {kCreate}, Key::k_idxname, {kAlter}},
    {"ListenStmt", "LISTEN", {kNotify}, Kind::kOther, {}, Key::k_conditionname},
    {"LoadStmt",
     "LOAD",
     {kServerControl, kFileRead, kUnknown},
     Kind::kOther,
     {},
     Key::kNone,
     {kReference},
     Key::k_filename},
    {"NotifyStmt", "NOTIFY", {kNotify}, Kind::kOther, {}, Key::k_conditionname},
    {"ReassignOwnedStmt", "REASSIGN OWNED", {kAlter, kUnknown}, Kind::kRole, {kAlter}, Key::k_roles},
    {"RefreshMatViewStmt",
     "REFRESH MATERIALIZED VIEW",
     {kMaintain},
     Kind::kMaterializedView,
     {kMaintain},
     Key::k_relation},
    {"ReindexStmt", "REINDEX", {kMaintain}, Kind::kOther, {}, Key::k_name, {kMaintain}},
    {"ReplicaIdentityStmt", "ALTER TABLE", {kAlter}, Kind::kOther, {}, Key::kNone, {kAlter}},
    {"UnlistenStmt", "UNLISTEN", {kNotify}, Kind::kOther, {}, Key::k_conditionname},
    {"VariableShowStmt", "SHOW", {}, Kind::kOther, {}, Key::k_name},
};
static_assert(std::ranges::is_sorted(kUtilities, {}, &Utility::node));

// Sorted by name.
constexpr ObjectType kObjectTypes[] = {
    {"OBJECT_ACCESS_METHOD", Kind::kOther, "CREATE ACCESS METHOD", "ALTER ACCESS METHOD", "DROP ACCESS METHOD"},
    {"OBJECT_AGGREGATE", Kind::kFunction, "CREATE AGGREGATE", "ALTER AGGREGATE", "DROP AGGREGATE"},
    {"OBJECT_AMOP", Kind::kOther, "CREATE OPERATOR FAMILY", "ALTER OPERATOR FAMILY", "DROP OPERATOR FAMILY"},
    {"OBJECT_AMPROC", Kind::kOther, "CREATE OPERATOR FAMILY", "ALTER OPERATOR FAMILY", "DROP OPERATOR FAMILY"},
    {"OBJECT_ATTRIBUTE", Kind::kOther, "CREATE TYPE", "ALTER TYPE", "DROP TYPE", true},
    {"OBJECT_CAST", Kind::kOther, "CREATE CAST", "ALTER CAST", "DROP CAST"},
    {"OBJECT_COLLATION", Kind::kOther, "CREATE COLLATION", "ALTER COLLATION", "DROP COLLATION"},
    {"OBJECT_COLUMN", Kind::kOther, "CREATE TABLE", "ALTER TABLE", "DROP TABLE", true},
    {"OBJECT_CONVERSION", Kind::kOther, "CREATE CONVERSION", "ALTER CONVERSION", "DROP CONVERSION"},
    {"OBJECT_DATABASE", Kind::kDatabase, "CREATE DATABASE", "ALTER DATABASE", "DROP DATABASE"},
    {"OBJECT_DEFACL", Kind::kOther, "CREATE DEFAULT PRIVILEGES", "ALTER DEFAULT PRIVILEGES", "DROP DEFAULT PRIVILEGES"},
    {"OBJECT_DEFAULT", Kind::kOther, "CREATE TABLE", "ALTER TABLE", "DROP TABLE", true},
    {"OBJECT_DOMAIN", Kind::kType, "CREATE DOMAIN", "ALTER DOMAIN", "DROP DOMAIN"},
    {"OBJECT_DOMCONSTRAINT", Kind::kOther, "CREATE DOMAIN", "ALTER DOMAIN", "DROP DOMAIN"},
    {"OBJECT_EVENT_TRIGGER", Kind::kEventTrigger, "CREATE EVENT TRIGGER", "ALTER EVENT TRIGGER", "DROP EVENT TRIGGER"},
    {"OBJECT_EXTENSION", Kind::kExtension, "CREATE EXTENSION", "ALTER EXTENSION", "DROP EXTENSION"},
    {"OBJECT_FDW", Kind::kForeignDataWrapper, "CREATE FOREIGN DATA WRAPPER", "ALTER FOREIGN DATA WRAPPER",
     "DROP FOREIGN DATA WRAPPER"},
    {"OBJECT_FOREIGN_SERVER", Kind::kServer, "CREATE SERVER", "ALTER SERVER", "DROP SERVER"},
    {"OBJECT_FOREIGN_TABLE", Kind::kForeignTable, "CREATE FOREIGN TABLE", "ALTER FOREIGN TABLE", "DROP FOREIGN TABLE"},
    {"OBJECT_FUNCTION", Kind::kFunction, "CREATE FUNCTION", "ALTER FUNCTION", "DROP FUNCTION"},
    {"OBJECT_INDEX", Kind::kIndex, "CREATE INDEX", "ALTER INDEX", "DROP INDEX"},
    {"OBJECT_LANGUAGE", Kind::kLanguage, "CREATE LANGUAGE", "ALTER LANGUAGE", "DROP LANGUAGE"},
    {"OBJECT_LARGEOBJECT", Kind::kOther, "CREATE LARGE OBJECT", "ALTER LARGE OBJECT", "DROP LARGE OBJECT"},
    {"OBJECT_MATVIEW", Kind::kMaterializedView, "CREATE MATERIALIZED VIEW", "ALTER MATERIALIZED VIEW",
     "DROP MATERIALIZED VIEW"},
    {"OBJECT_OPCLASS", Kind::kOther, "CREATE OPERATOR CLASS", "ALTER OPERATOR CLASS", "DROP OPERATOR CLASS"},
    {"OBJECT_OPERATOR", Kind::kOther, "CREATE OPERATOR", "ALTER OPERATOR", "DROP OPERATOR"},
    {"OBJECT_OPFAMILY", Kind::kOther, "CREATE OPERATOR FAMILY", "ALTER OPERATOR FAMILY", "DROP OPERATOR FAMILY"},
    {"OBJECT_PARAMETER_ACL", Kind::kOther, "CREATE SYSTEM", "ALTER SYSTEM", "DROP SYSTEM"},
    {"OBJECT_POLICY", Kind::kPolicy, "CREATE POLICY", "ALTER POLICY", "DROP POLICY"},
    {"OBJECT_PROCEDURE", Kind::kFunction, "CREATE PROCEDURE", "ALTER PROCEDURE", "DROP PROCEDURE"},
    {"OBJECT_PUBLICATION", Kind::kPublication, "CREATE PUBLICATION", "ALTER PUBLICATION", "DROP PUBLICATION"},
    {"OBJECT_ROLE", Kind::kRole, "CREATE ROLE", "ALTER ROLE", "DROP ROLE"},
    {"OBJECT_ROUTINE", Kind::kFunction, "CREATE ROUTINE", "ALTER ROUTINE", "DROP ROUTINE"},
    {"OBJECT_RULE", Kind::kRule, "CREATE RULE", "ALTER RULE", "DROP RULE"},
    {"OBJECT_SCHEMA", Kind::kSchema, "CREATE SCHEMA", "ALTER SCHEMA", "DROP SCHEMA"},
    {"OBJECT_SEQUENCE", Kind::kSequence, "CREATE SEQUENCE", "ALTER SEQUENCE", "DROP SEQUENCE"},
    {"OBJECT_STATISTIC_EXT", Kind::kOther, "CREATE STATISTICS", "ALTER STATISTICS", "DROP STATISTICS"},
    {"OBJECT_SUBSCRIPTION", Kind::kSubscription, "CREATE SUBSCRIPTION", "ALTER SUBSCRIPTION", "DROP SUBSCRIPTION"},
    {"OBJECT_TABCONSTRAINT", Kind::kOther, "CREATE TABLE", "ALTER TABLE", "DROP TABLE", true},
    {"OBJECT_TABLE", Kind::kTable, "CREATE TABLE", "ALTER TABLE", "DROP TABLE"},
    {"OBJECT_TABLESPACE", Kind::kTablespace, "CREATE TABLESPACE", "ALTER TABLESPACE", "DROP TABLESPACE"},
    {"OBJECT_TRANSFORM", Kind::kOther, "CREATE TRANSFORM", "ALTER TRANSFORM", "DROP TRANSFORM"},
    {"OBJECT_TRIGGER", Kind::kTrigger, "CREATE TRIGGER", "ALTER TRIGGER", "DROP TRIGGER"},
    {"OBJECT_TSCONFIGURATION", Kind::kOther, "CREATE TEXT SEARCH CONFIGURATION", "ALTER TEXT SEARCH CONFIGURATION",
     "DROP TEXT SEARCH CONFIGURATION"},
    {"OBJECT_TSDICTIONARY", Kind::kOther, "CREATE TEXT SEARCH DICTIONARY", "ALTER TEXT SEARCH DICTIONARY",
     "DROP TEXT SEARCH DICTIONARY"},
    {"OBJECT_TSPARSER", Kind::kOther, "CREATE TEXT SEARCH PARSER", "ALTER TEXT SEARCH PARSER",
     "DROP TEXT SEARCH PARSER"},
    {"OBJECT_TSTEMPLATE", Kind::kOther, "CREATE TEXT SEARCH TEMPLATE", "ALTER TEXT SEARCH TEMPLATE",
     "DROP TEXT SEARCH TEMPLATE"},
    {"OBJECT_TYPE", Kind::kType, "CREATE TYPE", "ALTER TYPE", "DROP TYPE"},
    {"OBJECT_USER_MAPPING", Kind::kUserMapping, "CREATE USER MAPPING", "ALTER USER MAPPING", "DROP USER MAPPING"},
    {"OBJECT_VIEW", Kind::kView, "CREATE VIEW", "ALTER VIEW", "DROP VIEW"},
};
static_assert(std::ranges::is_sorted(kObjectTypes, {}, &ObjectType::name));

}  // namespace

Utility utility_of(std::string_view node) {
  const auto* found = std::ranges::lower_bound(kUtilities, node, {}, &Utility::node);
  if (found != std::end(kUtilities) && found->node == node) return *found;
  return {.command = "UNKNOWN", .effects = {Effect::kUnknown}};
}

ObjectType object_type(std::string_view name) {
  const auto* found = std::ranges::lower_bound(kObjectTypes, name, {}, &ObjectType::name);
  if (found != std::end(kObjectTypes) && found->name == name) return *found;
  return {.create = "CREATE", .alter = "ALTER", .drop = "DROP"};
}

std::string_view role_keyword(std::string_view roletype) {
  if (roletype == "ROLESPEC_CURRENT_ROLE") return "current_role";
  if (roletype == "ROLESPEC_CURRENT_USER") return "current_user";
  if (roletype == "ROLESPEC_SESSION_USER") return "session_user";
  return "public";
}

}  // namespace gatehouse::sql
