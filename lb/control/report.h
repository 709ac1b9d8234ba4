// What the workers and listeners count, for people and metrics. Reads only.
//
// Control thread only; what walks connections asks each worker in turn.
#pragma once

#include <string>
#include <vector>

#include "lb/control/listener_set.h"
#include "lb/control/views.h"
#include "lb/proxy/engine.h"
#include "net/base/address.h"

namespace lb {

std::vector<ListenerView> ListenerViews(const ListenerSet& listeners);

void AddWorkerCounters(const Engine& engine, std::vector<CounterView>* views);
void AddListenerCounters(const ListenerSet& listeners, std::vector<CounterView>* views);
void AddTlsCounters(const Engine& engine, const ListenerSet& listeners,
                    std::vector<CounterView>* views);

// Adds the open connections of that address, at most kConnectionsShown, and how many there are.
void AddConnectionsFrom(const net::Address& source, Engine& engine, const ListenerSet& listeners,
                        const PoolIds& pools, WhyView* view);

// The open connections (of one node: POOL/NODE or NODE; "" for all) behind the one of that id; ""
// for the first ones. An id whose connection has ended still marks its place.
ConnectionPage ConnectionsAfter(const std::string& after, const std::string& node, Engine& engine,
                                const ListenerSet& listeners, const PoolIds& pools);

}  // namespace lb
