import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";

export default buildModule("CounterModule", (m) => {
  const counter = m.contract("Counter");
  m.call(counter, "set", [41n]);
  m.call(counter, "increment", [], { id: "once", after: [counter] });
  return { counter };
});
