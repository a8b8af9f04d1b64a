// Package planner is the only service that starts migrations. It is level-triggered: whenever the fold changes it asks
// placement what should be, and stores the difference: admissions on the cluster's aggregate, Pending on the app's, the end of
// drains and evacuations. It owns app specs, moves, drains, evacuations, policy and freezes.
package planner
