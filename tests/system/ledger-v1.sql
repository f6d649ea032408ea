BEGIN TRANSACTION;
CREATE TABLE audit( id INTEGER PRIMARY KEY, time INTEGER, who TEXT, tty TEXT, action TEXT, what TEXT, count INTEGER, detail TEXT);
INSERT INTO "audit" VALUES(1,1795310808,'root','','release','m1',1,'');
INSERT INTO "audit" VALUES(2,1795310808,'root','','purge','subject 2',1,'');
INSERT INTO "audit" VALUES(3,1795310808,'root','','trust','login:ann@x.example',1,'');
CREATE TABLE incident( id INTEGER PRIMARY KEY, origin TEXT, rule TEXT, mode TEXT, state TEXT, since INTEGER, updated INTEGER, closed INTEGER, recipients INTEGER, messages INTEGER, limit_ INTEGER, per INTEGER, would_take INTEGER, missed INTEGER, clients INTEGER, reason TEXT);
INSERT INTO "incident" VALUES(1,'login:joe@x.example','burst','enforce','quarantined',1795310808,1795310808,0,21,21,20,600,0,0,0,'21 recipients in 600s, the limit of rule burst is 20');
CREATE TABLE message( id INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER NOT NULL, spool TEXT NOT NULL, format TEXT NOT NULL, queue_id TEXT NOT NULL, new_id TEXT NOT NULL, dev INTEGER, ino INTEGER, size INTEGER, dir INTEGER, depth INTEGER, mode INTEGER, uid INTEGER, gid INTEGER, mtime INTEGER, incident INTEGER, origin TEXT, sender TEXT, login TEXT, client TEXT, subject TEXT, sent_from TEXT, message_id TEXT, recipients INTEGER, done INTEGER, rcpts TEXT, arrived INTEGER, taken INTEGER, changed INTEGER, sha256 BLOB, stamps BLOB, boot_id TEXT, readable INTEGER);
INSERT INTO "message" VALUES(1,5,'drop','eml','21.eml','21-rtovqoodv9k.eml',65024,11117649,84,0,0,420,0,0,1795310808,1,'login:joe@x.example','joe@x.example','joe@x.example','','21','joe@x.example','',1,0,'a@there.example
',1795310808,1795310808,1795310808,X'0000000000000000000000000000000000000000000000000000000000000000',X'','301dc045-5ff4-4900-a9d5-a35452d3f25b',1);
INSERT INTO "message" VALUES(2,3,'drop','eml','8.eml','',65024,11117441,82,0,0,420,0,0,1795310808,1,'login:joe@x.example','joe@x.example','joe@x.example','','8','joe@x.example','',1,0,'a@there.example
',1795310808,1795310808,1795310808,X'0000000000000000000000000000000000000000000000000000000000000000',X'','',1);
INSERT INTO "message" VALUES(3,3,'drop','eml','6.eml','',65024,11117409,82,0,0,420,0,0,1795310808,1,'login:joe@x.example','joe@x.example','joe@x.example','','6','joe@x.example','',1,0,'a@there.example
',1795310808,1795310808,1795310808,X'0000000000000000000000000000000000000000000000000000000000000000',X'','',1);
INSERT INTO "message" VALUES(4,3,'drop','eml','1.eml','',65024,11117329,82,0,0,420,0,0,1795310808,1,'login:joe@x.example','joe@x.example','joe@x.example','','1','joe@x.example','',1,0,'a@there.example
',1795310808,1795310808,1795310808,X'0000000000000000000000000000000000000000000000000000000000000000',X'','',1);
INSERT INTO "message" VALUES(5,3,'drop','eml','13.eml','',65024,11117521,84,0,0,420,0,0,1795310808,1,'login:joe@x.example','joe@x.example','joe@x.example','','13','joe@x.example','',1,0,'a@there.example
',1795310808,1795310808,1795310808,X'0000000000000000000000000000000000000000000000000000000000000000',X'','',1);
INSERT INTO "message" VALUES(6,3,'drop','eml','11.eml','',65024,11117489,84,0,0,420,0,0,1795310808,1,'login:joe@x.example','joe@x.example','joe@x.example','','11','joe@x.example','',1,0,'a@there.example
',1795310808,1795310808,1795310808,X'0000000000000000000000000000000000000000000000000000000000000000',X'','',1);
INSERT INTO "message" VALUES(20,7,'drop','eml','2.eml','',65024,11117345,82,0,0,420,0,0,1795310808,1,'login:joe@x.example','joe@x.example','joe@x.example','','2','joe@x.example','',1,0,'a@there.example
',1795310808,1795310808,1795310808,X'0000000000000000000000000000000000000000000000000000000000000000',X'','',1);
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
INSERT INTO "meta" VALUES('expire_not_before',1795570007);
INSERT INTO "meta" VALUES('expire_seen',1795310807);
INSERT INTO "meta" VALUES('trails_saved',1795310808);
CREATE TABLE origin( origin TEXT PRIMARY KEY, state INTEGER, since INTEGER, until INTEGER, by_ TEXT, incident INTEGER, reason TEXT) WITHOUT ROWID;
INSERT INTO "origin" VALUES('login:ann@x.example',2,1795310808,1795314408,'root',0,'by hand');
INSERT INTO "origin" VALUES('login:joe@x.example',1,1795310808,0,'spoolwardd',1,'burst');
CREATE TABLE trail(origin TEXT PRIMARY KEY, blob BLOB) WITHOUT ROWID;
INSERT INTO "trail" VALUES('domain:x.example',X'5700000000000000D20600000000000015000000150000005600000000000000FC000000000000000300000003000000');
INSERT INTO "trail" VALUES('login:joe@x.example',X'5700000000000000D20600000000000015000000150000005600000000000000FC000000000000000300000003000000');
INSERT INTO "trail" VALUES('sender:joe@x.example',X'5700000000000000D20600000000000015000000150000005600000000000000FC000000000000000300000003000000');
CREATE INDEX message_incident ON message(incident, state);
CREATE INDEX message_state ON message(state, id);
CREATE INDEX message_queue_id ON message(queue_id);
CREATE INDEX audit_time ON audit(time);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('message',24);
COMMIT;
PRAGMA user_version = 1;
