#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/sql.h"

static void what_only_reads_is_known_by_its_words(void **state)
{
    static const char *const reads[] = {
        "select 1",
        " /* insert */ SELECT * from t -- delete",
        "values (1), (2)",
        "with x as (select 1) select * from x",
        "explain select * from t",
        "select 'insert into t', \"update\", `delete` from t where a = 'it''s into'",
        "select inserted, update_at, my_into from deletes",
        "select 'no end",
        "select '\\d+', 'c:\\temp' -- a\r\n, 1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        assert_true(ty_sql_only_reads(reads[i]));
}

static void what_writes_is_known_however_it_begins(void **state)
{
    static const char *const writes[] = {
        "insert into t values (1)",
        "with x as (values (1)) Insert into t select * from x",
        "with gone as (delete from t returning *) select * from gone",
        "explain analyze update t set a = 1",
        "select * into copy from t",
        "select * from t for update",
        "select nextval('s')",
        "select 1; delete from t",
        "create table t (a int)",
        "",
        /* Which is seen only by those who know the server's own rules. */
        "with a as (select e'\\'' as q), b as (delete from t where n = 'x' returning n)"
        " select * from b",
        "with a as (select 5--1\n) select 1",
        "with a as (select 1) /*! delete from t */",
        "with a as (select 1) /*M! delete from t */",
        "with a as (select 1) -- x\rdelete from t",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        assert_false(ty_sql_only_reads(writes[i]));
}

/* As it would be shown; static memory. */
static const char *outline(const char *system, const char *sql, size_t max)
{
    static char text[512];
    struct ty_buf out = {0};

    ty_sql_outline(system, (struct ty_slice){sql, strlen(sql)}, max, &out);
    assert_in_range(out.len, 0, sizeof(text) - 1);
    memcpy(text, ty_buf_cstr(&out), out.len + 1);
    ty_buf_close(&out);
    return text;
}

static void an_outline_keeps_words_names_and_placeholders(void **state)
{
    static const char *const systems[] = {"sqlite", "postgresql", "mysql"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(outline(systems[i],
                                    "  select a1, \"b 2\".c -- why\n  from t_3\n where id = $1 and"
                                    " n > -2.5e-3/* 4 */and x in ('it''s', 0xFF, .5) limit 10;",
                                    300),
                            "select a1, \"b 2\".c from t_3 where id = $1 and n > -? and x in (?, ?,"
                            " ?) limit ?;");
        assert_string_equal(outline(systems[i], "", 300), "");
        assert_string_equal(outline(systems[i], " -- nothing", 300), "");
        assert_string_equal(outline(systems[i], "select $12", 300), "select $12");
    }
}

static void an_outline_shows_no_literal(void **state)
{
    static const struct {
        const char *system, *sql;
    } secrets[] = {
        {"sqlite", "select 'CANARY'"},
        {"sqlite", "select x'CANARY', 'a''CANARY'"},
        {"sqlite", "select [it's], 'CANARY', \"it's\", 'CANARY', `it's`, 'CANARY'"},
        {"sqlite", "select 'a\\', 'CANARY'"},
        {"sqlite", "select 'CANARY"},
        {"sqlite", "select 1 -- it's\n, 'CANARY'"},
        {"sqlite", "select 1 /* /* it's */, 'CANARY'"},
        {"postgresql", "select E'a\\'CANARY', 'CANARY'"},
        {"postgresql", "select e'a\\'b'\n'c\\'CANARY'"},
        {"postgresql", "select 'a\\', 'CANARY'"},
        {"postgresql", "select $$it's CANARY$$, $a$ $$CANARY$b$CANARY$a$, 'CANARY'"},
        {"postgresql", "do $body$ begin perform 'CANARY'; end $body$"},
        {"postgresql", "select 1 /* /* it's */ it's */, 'CANARY'"},
        {"postgresql", "select a #> '{CANARY}', U&'CANARY', b`'CANARY'"},
        {"postgresql", "select a$b$c, 'CANARY$b$'"},
        {"postgresql", "create role r password 'CANARY'"},
        {"postgresql", "select $$CANARY"},
        {"mysql", "select 1 # it's\n, 'CANARY'"},
        {"mysql", "select 5--3, 'CANARY', `it's`, 'CANARY'"},
        {"mysql", "select _utf8'CANARY', 'a\\', 'CANARY'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        if (strstr(outline(secrets[i].system, secrets[i].sql, 300), "CANARY"))
            fail_msg("%s: %s", secrets[i].sql, outline(secrets[i].system, secrets[i].sql, 300));
    }
    assert_string_equal(outline("mysql", "select 9876543210, 4111.11, 1e9", 300), "select ?, ?, ?");
}

static void an_outline_is_cut_between_characters(void **state)
{
    (void)state;
    assert_string_equal(outline("sqlite", "select abc", 10), "select abc");
    assert_string_equal(outline("sqlite", "select abcd", 10), "select abc...");
    assert_string_equal(outline("sqlite", "select ab\xc3\xa9", 10), "select ab...");
    assert_string_equal(outline("sqlite", "select 'a very long text'", 10), "select ?");
}

/* Sanitizers look on: the text ends where its memory does. */
static void an_outline_reads_no_further_than_its_text(void **state)
{
    static const char *const systems[] = {"sqlite", "postgresql", "mysql"};
    static const char alphabet[] = "'\"`$eE[]-#/*\\\n 0x1.+a_\xc3\xa9";
    unsigned random = 1;

    (void)state;
    for (int i = 0; i < 30000; i++) {
        size_t len = (size_t)i % 24;
        char *text = malloc(len + 1);
        struct ty_buf out = {0};

        for (size_t at = 1; at <= len; at++) {
            random = random * 1103515245 + 12345;
            text[at] = alphabet[(random >> 16) % (sizeof(alphabet) - 1)];
        }
        ty_sql_outline(systems[i % 3], (struct ty_slice){text + 1, len}, 20, &out);
        assert_in_range(out.len, 0, 23);
        ty_buf_close(&out);
        free(text);
    }
}

static void operations_have_names(void **state)
{
    struct ty_sql_op next = {.sql = "select 2"}, op = {.sql = "-- x\n update t", .sql_len = 14};
    char name[TY_SQL_OPERATION_MAX];

    (void)state;
    ty_sql_operation(&op, name);
    assert_string_equal(name, "UPDATE");
    assert_int_equal(ty_sql_statement(&op).len, 14);
    op.batch = &next;
    ty_sql_operation(&op, name);
    assert_string_equal(name, "BATCH");
    for (int verb = TY_SQL_SCRIPT; verb <= TY_SQL_COPY_GET; verb++) {
        op.verb = (enum ty_sql_verb)verb;
        ty_sql_operation(&op, name);
        assert_true(strlen(name) > 3);
    }
    op.verb = TY_SQL_COPY_PUT; /* what it sends is data */
    assert_int_equal(ty_sql_statement(&op).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outline_keeps_words_names_and_placeholders),
        cmocka_unit_test(an_outline_shows_no_literal),
        cmocka_unit_test(an_outline_is_cut_between_characters),
        cmocka_unit_test(an_outline_reads_no_further_than_its_text),
        cmocka_unit_test(operations_have_names),
        cmocka_unit_test(what_only_reads_is_known_by_its_words),
        cmocka_unit_test(what_writes_is_known_however_it_begins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
