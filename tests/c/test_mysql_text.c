#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/sql/mysql_text.h"

/* The text becomes this, with these numbers behind the question marks. */
static void assert_reads(const char *sql, const char *expected, const char *slots)
{
    struct ty_mysql_text text;

    assert_null(ty_mysql_text_read(&text, sql, strlen(sql)));
    assert_string_equal(text.sql.data, expected);
    assert_int_equal(text.slot_count, strlen(slots));
    for (unsigned i = 0; i < text.slot_count; i++)
        assert_int_equal(text.slots[i], slots[i] - '0');
    ty_mysql_text_close(&text);
}

static void assert_does_not_read(const char *sql, const char *why)
{
    struct ty_mysql_text text;
    const char *said = ty_mysql_text_read(&text, sql, strlen(sql));

    assert_non_null(said);
    assert_non_null(strstr(said, why));
    ty_mysql_text_close(&text);
}

static void placeholders_become_question_marks(void **state)
{
    (void)state;
    assert_reads("select $1", "select ?", "1");
    assert_reads("select $2,$1 , $2", "select ?,? , ?", "212");
    assert_reads("select 1", "select 1", "");
    assert_reads("select $1::int", "select ?::int", "1");
    assert_reads("select($1)+$2;", "select(?)+?;", "12");
}

static void strings_names_and_comments_are_left_alone(void **state)
{
    (void)state;
    assert_reads("select '$1', \"$2\", `$3`, $1", "select '$1', \"$2\", `$3`, ?", "1");
    assert_reads("select 'it''s $1', $1", "select 'it''s $1', ?", "1");
    assert_reads("select 'a\\', $1, '$2'", "select 'a\\', ?, '$2'", "1");
    assert_reads("select 1 -- $1 ?\n, $1", "select 1 -- $1 ?\n, ?", "1");
    assert_reads("select 1 # $1 '\n, $1", "select 1 # $1 '\n, ?", "1");
    assert_reads("select /* $1 ' ? */ $1", "select /* $1 ' ? */ ?", "1");
    assert_reads("select 5--1, $1", "select 5--1, ?", "1"); /* minus minus one */
    assert_reads("select a$1, _$2, $x", "select a$1, _$2, $x", "");
    assert_reads("select '$1", "select '$1", "");
    assert_reads("select $1 /* $2", "select ? /* $2", "1");
}

static void other_placeholders_and_texts_are_refused(void **state)
{
    struct ty_mysql_text text;

    (void)state;
    assert_does_not_read("select ?", "placeholders");
    assert_does_not_read("select $0", "placeholders");
    assert_does_not_read("select $01", "placeholders");
    assert_does_not_read("select $65536", "placeholders");
    assert_does_not_read("select $99999999999999999999", "placeholders");
    assert_does_not_read("", "empty");
    assert_does_not_read(" ; -- nothing\n", "empty");
    assert_does_not_read("select 1; select 2", "more than one");
    assert_does_not_read("insert into t values (1); drop table t", "more than one");
    assert_non_null(ty_mysql_text_read(&text, "select\0 1", 9));
    ty_mysql_text_close(&text);
    assert_reads("create procedure p() begin select 1; select 2; end",
                 "create procedure p() begin select 1; select 2; end", "");
}

static bool is_refused(const char *sql, bool in_tx)
{
    return ty_mysql_text_refuse(sql, strlen(sql), in_tx);
}

static void transactions_are_not_begun_or_ended_by_statements(void **state)
{
    static const char *const refused[] = {
        "begin",
        "BEGIN work",
        "start transaction",
        "commit",
        " /* so */ rollback",
        "savepoint a",
        "release savepoint a",
        "xa start 'a'",
        "set autocommit = 0",
        "set @a = 1, session AUTOCOMMIT = off",
        "set transaction isolation level serializable",
        "use other",
        "/*! commit */",
    };
    static const char *const allowed[] = {
        "select 1 as commit",
        "insert into t values ('begin')",
        "begin not atomic select 1; end",
        "set @a = 1",
        "start replica",
        "create table a(n int)",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_true(is_refused(refused[i], false));
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        assert_false(is_refused(allowed[i], false));
}

static void what_would_commit_is_refused_in_a_transaction(void **state)
{
    (void)state;
    assert_true(is_refused("create table a(n int)", true));
    assert_true(is_refused("drop table a", true));
    assert_true(is_refused("alter table a add b int", true));
    assert_true(is_refused("truncate table a", true));
    assert_true(is_refused("lock tables a write", true));
    assert_false(is_refused("create or replace temporary table a(n int)", true));
    assert_false(is_refused("drop temporary table a", true));
    assert_false(is_refused("insert into a values (1)", true));
}

static bool changes(const char *sql)
{
    return ty_mysql_text_changes_session(sql, strlen(sql));
}

static void changes_of_the_session_are_seen(void **state)
{
    static const char *const change[] = {
        "set @a = 1",
        "SET sql_mode = ''",
        "select @a := 1",
        "select 1 into @a",
        "select get_lock('a', 1)",
        "select n, GET_LOCK (n, 0) from t",
        "create temporary table a(n int)",
        "create or replace temporary table a(n int)",
        "lock tables a read",
        "prepare a from 'select 1'",
        "execute a",
        "call p()",
        "handler a open",
        "flush tables with read lock",
        "/*!50000 set @a = 1 */",
    };
    static const char *const harmless[] = {
        "select 1",
        "insert into t(mail) values ('a@b := c')",
        "select * from t where mail = 'get_lock' and is_locked = 1",
        "select @@version",
        "select @a",
        "update t set n = 1",
        "delete from t",
        "create table a(n int)",
        "show tables",
        "(select 1) union (select 2)",
        "with a as (select 1) select * from a",
        "explain select 1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
        if (!changes(change[i]))
            fail_msg("%s", change[i]);
    }
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        if (changes(harmless[i]))
            fail_msg("%s", harmless[i]);
    }
}

static unsigned line(const char *sql, unsigned index)
{
    return ty_mysql_text_line(sql, strlen(sql), index);
}

static void statements_of_a_script_have_lines(void **state)
{
    static const char script[] = "-- first\n"
                                 "create table a(t text default ';');\n"
                                 "\n"
                                 ";insert into a\n"
                                 "values (';'); select 1;\n"
                                 "create trigger b before insert on a for each row\n"
                                 "begin\n"
                                 "  if new.t = 'a' then set new.t = case 1 when 1 then 'b' end;\n"
                                 "  end if;\n"
                                 "  case when 1 then begin end; else begin end; end case;\n"
                                 "end;\n"
                                 "select 2";

    (void)state;
    assert_int_equal(line(script, 0), 2);
    assert_int_equal(line(script, 1), 4);
    assert_int_equal(line(script, 2), 5);
    assert_int_equal(line(script, 3), 6);
    assert_int_equal(line(script, 4), 12);
    assert_int_equal(line(script, 5), 0);
    assert_int_equal(line("", 0), 0);
}

/* Whatever the bytes are, nothing is read outside of them; what is read has all its placeholders.
 */
static void any_bytes_can_be_read(void **state)
{
    static const char alphabet[] = "$1?'\"`-#/*!;@:=a _\n\\(9\xc3";

    (void)state;
    srandom(1);
    for (int i = 0; i < 200000; i++) {
        size_t len = (size_t)random() % 24;
        char *sql = malloc(len + 1);
        struct ty_mysql_text text;
        unsigned marks = 0;

        for (size_t at = 0; at < len; at++)
            sql[at] = alphabet[(size_t)random() % (sizeof(alphabet) - 1)];
        if (!ty_mysql_text_read(&text, sql, len)) {
            for (size_t at = 0; at < text.sql.len; at++)
                marks += text.sql.data[at] == '?';
            assert_true(marks >= text.slot_count);
            assert_true(text.param_max <= TY_MYSQL_PARAMS_MAX);
        }
        ty_mysql_text_close(&text);
        ty_mysql_text_refuse(sql, len, true);
        ty_mysql_text_changes_session(sql, len);
        ty_mysql_text_line(sql, len, 1);
        free(sql);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placeholders_become_question_marks),
        cmocka_unit_test(strings_names_and_comments_are_left_alone),
        cmocka_unit_test(other_placeholders_and_texts_are_refused),
        cmocka_unit_test(transactions_are_not_begun_or_ended_by_statements),
        cmocka_unit_test(what_would_commit_is_refused_in_a_transaction),
        cmocka_unit_test(changes_of_the_session_are_seen),
        cmocka_unit_test(statements_of_a_script_have_lines),
        cmocka_unit_test(any_bytes_can_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
