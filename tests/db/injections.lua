--- What attackers send in the hope that it becomes a part of a statement.

return {
  "' or '1'='1", "' or 1=1 --", "'; drop table victims; --", "'; delete from victims where '1'='1",
  '" or ""="', '"; drop table victims; --', "`; drop table victims; --", "') or ('1'='1",
  "\\'; drop table victims; --", "\\", "\\\\'", "'/*", "*/ or 1=1 /*", "1; drop table victims",
  "1 or 1=1", "x' union select secret from victims --",
  "x' and 1=(select count(*) from victims) --",
  "$1", "$2", "$$; drop table victims; $$", "?", ":name", "@@version", "%s", "%", "_",
  "%' or 1=1 --",
  "null", "default", "true", "0x27206f7220313d31", "char(39)", "'||(select secret from victims)||'",
  "'+(select secret from victims)+'", "x'; copy victims to program 'true'; --",
  "'; select pg_sleep(10); --", "' or sleep(10) or '", "'; attach database 'x.db' as x; --",
  "\226\128\152 or 1=1 --", "\202\188 or 1=1 --", "\239\188\135 or 1=1 --", "'\n--\n", "'\t;\r\n",
  "\26", "{\"$gt\":\"\"}", "{{7*7}}", "${7*7}", "#{7*7}", "; vacuum", "'; commit; --",
  "'; rollback; --",
  "victims", "secret", "victims.secret", "id) from victims --", "(select secret from victims)",
}
