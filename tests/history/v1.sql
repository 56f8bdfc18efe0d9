-- A history of schema 1 with two runs in it, as sqlite3's .dump tells it. Never changed: such files are out there.
BEGIN TRANSACTION;
CREATE TABLE facts (
	digest VARCHAR(64) NOT NULL, 
	content TEXT NOT NULL, 
	PRIMARY KEY (digest)
)
 WITHOUT ROWID

;
INSERT INTO "facts" VALUES('421f2c705c84ec0e9d5156d55127ef59f60cc36484082e0795f8d800bcce9986','{"batch": 1, "scenario": "saturated", "timed": "host to host", "version": 1, "warmup": "0.5 s"}');
INSERT INTO "facts" VALUES('5fe9859fcb1089580cffd20f340fdc963eceea7cd8fc949e5f85fccbc16f7fde','{"cores": 2, "cpu": "AMD EPYC 9004", "kernel": "6.1.0", "runtimes": {"onnxruntime": "1.23.2"}}');
CREATE TABLE hil_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT hil_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "hil_schema" VALUES('1');
CREATE TABLE measurements (
	run INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	check_id TEXT NOT NULL, 
	precision TEXT NOT NULL, 
	scenario TEXT NOT NULL, 
	value DOUBLE NOT NULL, 
	unit TEXT NOT NULL, 
	n BIGINT NOT NULL, 
	low DOUBLE, 
	high DOUBLE, 
	runs TEXT NOT NULL, 
	method TEXT NOT NULL, 
	environment TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	engine TEXT, 
	executed_on TEXT, 
	PRIMARY KEY (run, model, check_id, precision, scenario), 
	FOREIGN KEY(run) REFERENCES runs (seq)
)
 WITHOUT ROWID

;
INSERT INTO "measurements" VALUES(1,'digits','latency.p99','fp32','saturated',0.00152,'s',4096,1.4592000000000001237e-03,1.59600000000000019628e-03,'[]','421f2c705c84ec0e9d5156d55127ef59f60cc36484082e0795f8d800bcce9986','5fe9859fcb1089580cffd20f340fdc963eceea7cd8fc949e5f85fccbc16f7fde','passed','fd2f4ea6eb3fb70da8b1d8b8027ab9ac2dc4950051bb72a7dcaac5d9c9845a6a','cpu AMD EPYC 9004');
INSERT INTO "measurements" VALUES(1,'digits','memory.peak','fp32','',74868326.4,'B',1,NULL,NULL,'[]','421f2c705c84ec0e9d5156d55127ef59f60cc36484082e0795f8d800bcce9986','5fe9859fcb1089580cffd20f340fdc963eceea7cd8fc949e5f85fccbc16f7fde','passed','fd2f4ea6eb3fb70da8b1d8b8027ab9ac2dc4950051bb72a7dcaac5d9c9845a6a','cpu AMD EPYC 9004');
INSERT INTO "measurements" VALUES(2,'digits','latency.p99','fp32','saturated',0.00152,'s',4096,1.4592000000000001237e-03,1.59600000000000019628e-03,'[]','421f2c705c84ec0e9d5156d55127ef59f60cc36484082e0795f8d800bcce9986','5fe9859fcb1089580cffd20f340fdc963eceea7cd8fc949e5f85fccbc16f7fde','passed','fd2f4ea6eb3fb70da8b1d8b8027ab9ac2dc4950051bb72a7dcaac5d9c9845a6a','cpu AMD EPYC 9004');
INSERT INTO "measurements" VALUES(2,'digits','memory.peak','fp32','',74868326.4,'B',1,NULL,NULL,'[]','421f2c705c84ec0e9d5156d55127ef59f60cc36484082e0795f8d800bcce9986','5fe9859fcb1089580cffd20f340fdc963eceea7cd8fc949e5f85fccbc16f7fde','passed','fd2f4ea6eb3fb70da8b1d8b8027ab9ac2dc4950051bb72a7dcaac5d9c9845a6a','cpu AMD EPYC 9004');
CREATE TABLE run_models (
	model TEXT NOT NULL, 
	run INTEGER NOT NULL, 
	PRIMARY KEY (model, run), 
	FOREIGN KEY(run) REFERENCES runs (seq)
)
 WITHOUT ROWID

;
INSERT INTO "run_models" VALUES('digits',1);
INSERT INTO "run_models" VALUES('digits',2);
CREATE TABLE runs (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	report_digest VARCHAR(64) NOT NULL, 
	started TEXT NOT NULL, 
	target TEXT NOT NULL, 
	used TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	runtime TEXT NOT NULL, 
	decision TEXT NOT NULL, 
	hil_version TEXT NOT NULL, 
	config_digest TEXT NOT NULL, 
	board TEXT, 
	module TEXT, 
	serial TEXT, 
	jetpack TEXT, 
	l4t TEXT, 
	runtime_version TEXT, 
	cuda TEXT, 
	commit_id TEXT, 
	evidence TEXT, 
	dirty BOOLEAN NOT NULL, 
	exit_code INTEGER, 
	whole BOOLEAN NOT NULL, 
	usable BOOLEAN NOT NULL, 
	UNIQUE (report_digest)
);
INSERT INTO "runs" VALUES(1,'0000000000001eef','a19b8f160f5b2c02ec377a4e95a0eb6f8e534c919546515408b4bee4e96ef141','2026-11-01T01:00:00.000000+00:00','cpu','cpu','local','onnxruntime','PASSED','0.1.0','4de5473c8f33c4ad2ef8fcbc7799858d7e3f9656f19200f49928ea90dc14743d',NULL,'agx-orin-64gb','1420','6.1','36.4.0','1.23.2',NULL,'0000000000000000000000000000000000000000','host',0,0,1,1);
INSERT INTO "runs" VALUES(2,'0000000000003dde','0444fada51f96c899120ad225deb6cacb15af03528185b9843effb51daf15933','2026-11-01T02:00:00.000000+00:00','cpu','cpu','local','onnxruntime','PASSED','0.1.0','4de5473c8f33c4ad2ef8fcbc7799858d7e3f9656f19200f49928ea90dc14743d',NULL,'agx-orin-64gb','1420','6.2','36.4.3','1.23.2',NULL,'0000000000000000000000000000000000000000','host',0,0,1,1);
CREATE UNIQUE INDEX runs_id ON runs (id) WHERE decision <> 'incomplete';
CREATE INDEX runs_newest ON runs (started, seq);
CREATE INDEX runs_jetpack ON runs (jetpack, started, seq);
CREATE INDEX runs_commit_id ON runs (commit_id, started, seq);
CREATE INDEX runs_target ON runs (target, started, seq);
CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER runs_no_delete BEFORE DELETE ON runs BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER run_models_no_update BEFORE UPDATE ON run_models BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER run_models_no_delete BEFORE DELETE ON run_models BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER measurements_no_update BEFORE UPDATE ON measurements BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER measurements_no_delete BEFORE DELETE ON measurements BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER facts_no_update BEFORE UPDATE ON facts BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER facts_no_delete BEFORE DELETE ON facts BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
COMMIT;
