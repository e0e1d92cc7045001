------------------------------- MODULE Small -------------------------------
(* The whole state space of a small cluster: run TLC on it with Small.cfg. *)
EXTENDS Raft, TLC

CONSTANTS MaxLog, MaxPending

Bounded ==
  \A i \in Node : Len(log[i]) <= MaxLog /\ Len(pending[i]) <= MaxPending

Symmetric == Permutations(Node)

\* A save is only worth a look when there is something to save.
Useful ==
  \A i \in Node : \A n \in 1..Len(pending[i]) :
    pending[i][n] # (IF n = 1 THEN disk[i] ELSE pending[i][n - 1])
=============================================================================
