// SPDX-License-Identifier: Apache-2.0
// The queries of the loader. OIDs from 16384 on are users'; what is below came with PostgreSQL.
#pragma once

namespace gatehouse::catalog::queries {

inline constexpr const char* kServerSettings = R"(
SELECT name, CASE WHEN name = 'client_encoding' AND source IN ('default', 'client')
                  THEN current_setting('server_encoding') ELSE reset_val END
FROM pg_catalog.pg_settings
WHERE name IN ('search_path', 'standard_conforming_strings', 'client_encoding', 'statement_timeout')
  AND (source IN ('default', 'configuration file', 'command line', 'environment variable')
       OR name = 'client_encoding' AND source = 'client'))";

// Names are printed with their schemas if no search path hides them; strings, as a reader of them expects.
inline constexpr const char* kBegin = R"(
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = '30s';
SET LOCAL lock_timeout = '2s';
SET LOCAL search_path = '';
SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SET LOCAL quote_all_identifiers = off;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL jit = off)";

inline constexpr const char* kMark = R"(
SELECT string_agg(part, ' ') FROM (
  SELECT 'c' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_class UNION ALL
  SELECT 'p' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_proc UNION ALL
  SELECT 'a' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_attribute UNION ALL
  SELECT 't' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_trigger UNION ALL
  SELECT 'r' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_rewrite UNION ALL
  SELECT 'n' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_namespace UNION ALL
  SELECT 'k' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_constraint UNION ALL
  SELECT 'd' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_attrdef UNION ALL
  SELECT 'y' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_type UNION ALL
  SELECT 'o' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_operator UNION ALL
  SELECT 's' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_cast UNION ALL
  SELECT 'm' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_amproc UNION ALL
  SELECT 'l' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_policy UNION ALL
  SELECT 'i' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_inherits UNION ALL
  SELECT 'x' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_index UNION ALL
  SELECT 'e' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_event_trigger UNION ALL
  SELECT 'g' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_db_role_setting UNION ALL
  SELECT 'u' || count(*) || ':' || md5(string_agg(oid || rolname, ',' ORDER BY oid)) FROM pg_roles) AS parts (part))";

inline constexpr const char* kRoles = "SELECT oid, rolname FROM pg_roles";

inline constexpr const char* kSchemas = R"(
SELECT oid, nspowner, nspname,
       coalesce((SELECT bool_or(grantee = 0 AND privilege_type = 'USAGE') FROM aclexplode(nspacl)), false)
FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_')";

// Temporary ones are other sessions'. Of indexes, those whose upkeep runs code.
inline constexpr const char* kRelations = R"(
SELECT c.oid, c.relnamespace, c.relowner, c.relname, c.relkind, w.fdwname,
       CASE WHEN c.relkind IN ('v', 'm') AND c.oid >= 16384 THEN pg_get_viewdef(c.oid) END
FROM pg_class c
LEFT JOIN pg_foreign_table f ON f.ftrelid = c.oid
LEFT JOIN pg_foreign_server s ON s.oid = f.ftserver
LEFT JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
WHERE c.relpersistence <> 't' AND (c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') OR c.relkind IN ('i', 'I') AND EXISTS (
  SELECT FROM pg_index x WHERE x.indexrelid = c.oid AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL))))";

inline constexpr const char* kColumns = R"(
SELECT a.attrelid, a.atttypid, a.attname,
       coalesce(a.attnum = ANY (p.partattrs::int2[]) OR 0 = ANY (p.partattrs::int2[]), false),
       a.attnum, a.attgenerated <> '', pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum)";

inline constexpr const char* kInheritance = R"(
SELECT inhrelid, inhparent FROM pg_inherits UNION ALL
SELECT indexrelid, indrelid FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL)";

inline constexpr const char* kSequences = R"(
SELECT d.objid, d.refobjid FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))";

// Kind: c what runs on a change, p a policy, d a domain's.
inline constexpr const char* kExpressions = R"(
SELECT 'c', adrelid, pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid >= 16384 UNION ALL
SELECT 'c', conrelid, pg_get_expr(conbin, conrelid) FROM pg_constraint
  WHERE contype = 'c' AND conrelid >= 16384 UNION ALL
SELECT 'c', indrelid, pg_get_expr(indexprs, indrelid) FROM pg_index
  WHERE indexprs IS NOT NULL AND indrelid >= 16384 UNION ALL
SELECT 'c', indrelid, pg_get_expr(indpred, indrelid) FROM pg_index
  WHERE indpred IS NOT NULL AND indrelid >= 16384 UNION ALL
SELECT 'c', partrelid, pg_get_expr(partexprs, partrelid) FROM pg_partitioned_table
  WHERE partexprs IS NOT NULL UNION ALL
SELECT 'p', polrelid, pg_get_expr(polqual, polrelid) FROM pg_policy JOIN pg_class c ON c.oid = polrelid
  WHERE polqual IS NOT NULL AND c.relrowsecurity UNION ALL
SELECT 'p', polrelid, pg_get_expr(polwithcheck, polrelid) FROM pg_policy JOIN pg_class c ON c.oid = polrelid
  WHERE polwithcheck IS NOT NULL AND c.relrowsecurity UNION ALL
SELECT 'd', contypid, pg_get_expr(conbin, 0) FROM pg_constraint WHERE contype = 'c' AND contypid >= 16384 UNION ALL
SELECT 'd', oid, pg_get_expr(typdefaultbin, 0) FROM pg_type WHERE typdefaultbin IS NOT NULL AND oid >= 16384)";

inline constexpr const char* kStatisticsExpressions = R"(
SELECT 'c', stxrelid, pg_get_expr(stxexprs, stxrelid) FROM pg_statistic_ext WHERE stxexprs IS NOT NULL)";
inline constexpr int kStatisticsExpressionsSince = 140000;

inline constexpr const char* kForeignKeys =
    "SELECT conrelid, confrelid, confupdtype, confdeltype FROM pg_constraint WHERE contype = 'f'";

// PostgreSQL's own internal ones check keys, which is known from those. What partitions have from their parents is
// internal too, in some versions.
inline constexpr const char* kTriggers = R"(
SELECT tgrelid, tgfoid, tgtype, tgname, CASE WHEN tgqual IS NOT NULL THEN pg_get_triggerdef(oid) END
FROM pg_trigger WHERE tgenabled <> 'D' AND NOT (tgisinternal AND tgfoid < 16384))";

inline constexpr const char* kRules = R"(
SELECT ev_class, ev_type, is_instead, ev_qual <> '<>', rulename, pg_get_ruledef(oid)
FROM pg_rewrite WHERE rulename <> '_RETURN' AND ev_enabled <> 'D' AND ev_class >= 16384)";

inline constexpr const char* kBuiltins = R"(
SELECT oid, pronamespace, proname, prorettype, proretset, CASE WHEN proargmodes IS NOT NULL THEN proargnames END,
       array_to_string(proargmodes, '')
FROM pg_proc WHERE oid < 16384)";

// @SQLBODY@: of functions that are written in the SQL standard's way, where there are such.
inline constexpr const char* kFunctions = R"(
SELECT p.oid, p.pronamespace, p.proowner, p.prorettype, p.proname, l.lanname, p.prokind, p.provolatile, p.prosecdef,
       e.objid IS NOT NULL, p.provariadic <> 0, p.pronargs, p.pronargdefaults, p.proargtypes::text,
       (SELECT substr(c, 13) FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%'),
       CASE WHEN l.lanname IN ('sql', 'plpgsql') THEN p.prosrc END,
       @SQLBODY@,
       pg_get_expr(p.proargdefaults, 0),
       concat_ws(' ', g.aggtransfn::oid, g.aggfinalfn::oid, g.aggcombinefn::oid, g.aggserialfn::oid,
                 g.aggdeserialfn::oid, g.aggmtransfn::oid, g.aggminvtransfn::oid, g.aggmfinalfn::oid),
       p.proretset, p.proargnames, array_to_string(p.proargmodes, '')
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid
LEFT JOIN pg_depend e ON e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'
WHERE p.oid >= 16384)";
inline constexpr const char* kSqlBody = "CASE WHEN p.prosqlbody IS NOT NULL THEN pg_get_function_sqlbody(p.oid) END";
inline constexpr int kSqlBodySince = 140000;

inline constexpr const char* kTypes = R"(
SELECT oid, typnamespace, typbasetype, CASE WHEN typcategory = 'A' THEN typelem ELSE 0 END, typrelid, typname
FROM pg_type WHERE oid >= 16384)";

inline constexpr const char* kOperators =
    "SELECT oprcode::oid, oprleft, oprright, oprname FROM pg_operator WHERE oprcode::oid >= 16384 OR oid >= 16384";

inline constexpr const char* kCasts =
    "SELECT castfunc, castsource, casttarget FROM pg_cast WHERE castfunc <> 0 AND (castfunc >= 16384 OR oid >= 16384)";

inline constexpr const char* kOrders = R"(
SELECT amproc::oid, amproclefttype, amprocrighttype FROM pg_amproc WHERE amproc::oid >= 16384 UNION ALL
SELECT o.oprcode::oid, m.amoplefttype, m.amoprighttype FROM pg_amop m JOIN pg_operator o ON o.oid = m.amopopr
  WHERE o.oprcode::oid >= 16384 UNION ALL
SELECT rngcanonical::oid, rngtypid, rngtypid FROM pg_range WHERE rngcanonical::oid >= 16384 UNION ALL
SELECT rngsubdiff::oid, rngtypid, rngtypid FROM pg_range WHERE rngsubdiff::oid >= 16384)";

inline constexpr const char* kEventTriggers =
    "SELECT evtfoid, evtname, array_to_string(evttags, ',') FROM pg_event_trigger WHERE evtenabled <> 'D'";

inline constexpr const char* kSettings = R"(
SELECT s.setdatabase <> 0, s.setrole, c FROM pg_db_role_setting s, unnest(s.setconfig) c
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND c ~ '^(search_path|standard_conforming_strings|client_encoding|role)=')";

}  // namespace gatehouse::catalog::queries
