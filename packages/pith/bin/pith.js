#!/usr/bin/env node
// Committed, because npm links a program only if its file exists when it installs, which is before anything is built.
import '../dist/cli/main.js';
