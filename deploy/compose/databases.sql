-- Postgres runs this once, when its volume is empty.
CREATE DATABASE temporal;
CREATE DATABASE temporal_visibility;
CREATE DATABASE registry;
