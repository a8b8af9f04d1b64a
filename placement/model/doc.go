// Package model compiles a cluster's state into dense integers for planning: nodes, apps and units (instances) are numbered in the
// order of their names, so that equal states make equal problems in whatever order they are listed. It knows the rules, and decides
// nothing.
package model
